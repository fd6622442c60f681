#!/usr/bin/python
"""Keeps records on the name server of one machine."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.dns.failure import WorkError
from ansible.module_utils.dns.records import Record
from ansible.module_utils.dns.work import Keeper

DOCUMENTATION = r"""
module: dns_records
short_description: Keep records on the name server of a machine
description:
  - Asks the server for the records and compares. On the server that takes changes, what differs is
    changed by signed updates (RFC 2136); on the others, the zone is copied anew.
  - Records that are not listed are left alone, but for those that were listed once.
author:
  - The provision authors
options:
  state:
    description: With V(verified), nothing is changed and a difference is a failure.
    type: str
    choices: [present, verified]
    default: present
  server:
    description: Address and port of the machine's own server.
    type: str
    required: true
  primary:
    description: Whether it takes changes.
    type: bool
    required: true
  zones:
    description: The zones with their records.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the zone, with a dot at its end.
        type: str
        required: true
      records:
        description: Records by C(name), C(type), C(ttl) in seconds and C(values).
        type: list
        elements: dict
        required: true
  key_file:
    description: The key for updates, as knsupdate takes it.
    type: path
    required: true
  kept_file:
    description: Where the names and types of the kept records are noted.
    type: path
    required: true
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Keep the API's name
  dns_records:
    server: 192.0.2.11:53
    primary: true
    zones:
      - name: site.example.org.
        records:
          - {name: api.site.example.org., type: A, ttl: 300, values: [192.0.2.100]}
    key_file: /etc/knot/provision-update.key
    kept_file: /var/lib/provision/dns/kept.json
"""

RETURN = r"""
changes:
  description: What differed, in the words of C(provision plan).
  returned: always
  type: list
  elements: str
  sample: ["record api.site.example.org. A is missing, wanted 192.0.2.100"]
"""


def main() -> None:
    """Ansible's entry point."""
    zone = {
        "name": {"type": "str", "required": True},
        "records": {"type": "list", "elements": "dict", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "verified"], "default": "present"},
            "server": {"type": "str", "required": True},
            "primary": {"type": "bool", "required": True},
            "zones": {"type": "list", "elements": "dict", "required": True, "options": zone},
            # Names of files, no secrets.
            "key_file": {"type": "path", "required": True, "no_log": False},
            "kept_file": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    keeper = Keeper(
        given["server"],
        {item["name"]: list(map(Record.of, item["records"])) for item in given["zones"]},
        Path(given["key_file"]),
        Path(given["kept_file"]),
    )
    changes = keeper.differences()
    if changes and given["state"] == "verified":
        module.fail_json(msg="the server is not as it should be:\n" + "\n".join(changes))
    try:
        if changes and not module.check_mode:
            keeper.change() if given["primary"] else keeper.copy()
    except WorkError as error:
        module.fail_json(msg=str(error), changes=changes)
    module.exit_json(changed=bool(changes), changes=changes)


if __name__ == "__main__":
    main()
