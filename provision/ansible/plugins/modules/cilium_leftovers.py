#!/usr/bin/python
"""Takes what Cilium's agent leaves off one machine."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cilium.leftovers import LeftoverError, removals

DOCUMENTATION = r"""
module: cilium_leftovers
short_description: Take what Cilium's agent leaves off a machine
description:
  - Stops the agent and the kubelet if they still run, then removes interfaces, BPF programs and
    maps, mounts, files and packet filter chains.
  - To take one machine out of a cluster that stays, take Kubernetes off it first, so that it can
    be drained.
author:
  - The provision authors
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Take Cilium off
  cilium_leftovers:
"""

RETURN = r"""
removed:
  description: What was there.
  returned: always
  type: list
  elements: str
  sample: ["interface cilium_host", "folder /run/cilium"]
"""


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    removed = []
    try:
        for what, take_away in removals():
            if not module.check_mode:
                take_away()
            removed.append(what)
    except LeftoverError as error:
        module.fail_json(msg=str(error), removed=removed)
    module.exit_json(changed=bool(removed), removed=removed)


if __name__ == "__main__":
    main()
