#!/usr/bin/python
"""Reads, completes, verifies or removes a depot's content for the action plugin ``depot_load``."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.depot_content.store import Store
from ansible.module_utils.site_state.failure import WorkError

DOCUMENTATION = r"""
module: depot_load
short_description: Keep in a depot what the site's bundle holds
description:
  - Writes the storage files of an OCI registry, the bundle's images and plain files, onto a
    machine. The registry itself stays read-only.
  - Only blobs that are missing or damaged travel, in pieces over Ansible's own connection. What
    arrived whole stays when a run is interrupted, and an unfinished blob goes on where it stopped.
  - Every blob is hashed on arrival. What the bundle does not have is removed.
author:
  - The provision authors
options:
  path:
    description: The registry's root directory on the machine.
    type: path
    required: true
  state:
    description:
      - With V(present), the content is made the bundle's.
      - With V(absent), all content is removed.
      - With V(verified), every blob is read and hashed again, nothing is changed, and a
        difference is a failure. A damaged blob is then seen by C(provision plan) too.
    type: str
    choices: [present, absent, verified]
    default: present
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
- name: Load the bundle into the depot
  depot_load:
    path: /var/lib/provision-depot

- name: Read every blob again
  depot_load:
    path: /var/lib/provision-depot
    state: verified
"""

RETURN = r"""
changes:
  description: What differed, in the words of C(provision plan).
  returned: always
  type: list
  elements: dict
  sample:
    - {kind: blob, name: "sha256:0a1b", found: missing, wanted: present}
sent:
  description: Bytes that travelled.
  returned: when something changed
  type: int
"""


def main() -> None:
    """Do what the order says: ``read``, ``complete``, ``verify`` or ``remove``."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {
                "type": "str",
                "choices": ["present", "absent", "verified"],
                "default": "present",
            },
            "order": {"type": "str"},
        },
        supports_check_mode=True,
    )
    if module.params["order"] is None:
        module.fail_json(msg="depot_load works through its action plugin; see ansible.cfg")
    store = Store(Path(module.params["path"]))
    try:
        module.exit_json(**_carry_out(store, json.loads(module.params["order"])))
    except WorkError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            module.fail_json(
                msg=f"no room left in {store.folder}; free some space: df -h {store.folder}"
            )
        module.fail_json(msg=f"{error.filename or store.folder}: {error.strerror}")


def _carry_out(store: Store, order: dict[str, Any]) -> dict[str, Any]:
    if "read" in order:
        return {"changed": False, **store.read(order["read"])}
    if "verify" in order:
        return {"changed": False, "damaged": store.verify(**order["verify"])}
    if "complete" in order:
        store.complete(**order["complete"])
    else:
        store.remove()
    return {"changed": True}


if __name__ == "__main__":
    main()
