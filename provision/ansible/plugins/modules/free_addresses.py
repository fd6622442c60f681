#!/usr/bin/python
"""Refuses addresses that somebody uses already."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.free_addresses.probe import PATH, ProbeError, answering, expanded

DOCUMENTATION = r"""
module: free_addresses
short_description: Refuse addresses that somebody uses already
description:
  - Probes each address by ARP or neighbour discovery from this machine, and fails with those that
    answer. Changes nothing.
  - Addresses that the cluster's own pools have are not probed, since Services may use them.
author:
  - The provision authors
options:
  ranges:
    description: Ranges C(FIRST-LAST) and networks.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: See that the pools are free
  free_addresses:
    ranges: [192.0.2.200-192.0.2.220]
"""

RETURN = r"""
probed:
  description: How many addresses were probed.
  returned: success
  type: int
"""

ADMIN = Path("/etc/kubernetes/admin.conf")


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={"ranges": {"type": "list", "elements": "str", "required": True}},
        supports_check_mode=True,
    )
    own = set(expanded(_pools()))
    fresh = [address for address in expanded(module.params["ranges"]) if address not in own]
    try:
        taken = answering(fresh)
    except ProbeError as error:
        module.fail_json(msg=str(error))
    if taken:
        told = ", ".join(f"{address} ({hardware})" for address, hardware in taken.items())
        module.fail_json(
            msg=f"addresses of the pools are used by others already: {told}; take them out of"
            " load_balancer.pools in the site file, or off those machines; nothing was changed"
        )
    module.exit_json(changed=False, probed=len(fresh))


def _pools() -> list[str]:
    """Ranges of the pools in the cluster; none where there is no cluster or no MetalLB."""
    if not ADMIN.exists():
        return []
    done = subprocess.run(
        [
            *("kubectl", f"--kubeconfig={ADMIN}", "get", "ipaddresspools.metallb.io"),
            *("--all-namespaces", "--output=json"),
        ],
        capture_output=True,
        env={"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8"},
        text=True,
        check=False,
    )
    listed = json.loads(done.stdout)["items"] if done.returncode == 0 else []
    return [text for pool in listed for text in pool["spec"]["addresses"]]


if __name__ == "__main__":
    main()
