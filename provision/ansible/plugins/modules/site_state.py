#!/usr/bin/python
"""Reads or changes one machine for the action plugin ``site_state``."""

from __future__ import annotations

import json

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.site_state import reader, work
from ansible.module_utils.site_state.failure import WorkError
from ansible.module_utils.site_state.repository import Repository

DOCUMENTATION = r"""
module: site_state
short_description: Keep true on a machine what a role's state.yml lists
description:
  - Reads the machine, compares it with C(state.yml) of the role, and changes only what differs.
  - Packages, kernel modules, sysctls, directories, files, absent paths and systemd units are
    kept in one call, with full check and diff mode.
  - The content of a secret travels over standard input only and never shows in a result or a diff.
author:
  - The provision authors
options:
  state:
    description:
      - With V(present), the machine is made as the list says.
      - With V(absent), what the list names is removed. Packages stay unless O(purge) is set.
      - With V(verified), nothing is changed and a difference is a failure.
    type: str
    choices: [present, absent, verified]
    default: present
  purge:
    description: Whether V(absent) also purges the packages of the list.
    type: bool
    default: false
  role_path:
    description: Folder of the role whose C(state.yml) is meant; by default the role that runs.
    type: path
  order:
    description: For the action plugin's own use.
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
"""

EXAMPLES = r"""
- name: Keep what the list says
  site_state:

- name: Take it away again
  site_state:
    state: absent

- name: Prove that nothing differs
  site_state:
    state: verified
"""

RETURN = r"""
changes:
  description: What differed, in the words of C(provision plan).
  returned: always
  type: list
  elements: dict
  sample:
    - {kind: file, name: /etc/chrony/chrony.conf, found: missing, wanted: present}
restarted:
  description: Units that were restarted because their files changed.
  returned: when something changed
  type: list
  elements: str
"""


def main() -> None:
    """Do what the order says: ``query``, ``offer`` packages, or do or undo the work that it is."""
    module = AnsibleModule(
        argument_spec={
            "state": {
                "type": "str",
                "choices": ["present", "absent", "verified"],
                "default": "present",
            },
            "purge": {"type": "bool", "default": False},
            "role_path": {"type": "path"},
            # One string: every string inside a no_log mapping would be blotted out of results.
            "order": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    if module.params["order"] is None:
        module.fail_json(msg="site_state works through its action plugin; see ansible.cfg")
    order = json.loads(module.params["order"])
    try:
        if "query" in order:
            module.exit_json(changed=False, observed=reader.answer(order["query"]))
        elif "offer" in order:
            offered = Repository(order["role"]).offer(**order["offer"])
            module.exit_json(changed=False, **offered)
        elif module.params["state"] == "absent":
            work.withdraw(order)
            module.exit_json(changed=True)
        else:
            module.exit_json(changed=True, restarted=work.apply(order))
    except WorkError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
