#!/usr/bin/python
"""Keeps the PostgreSQL server of one machine, and what it holds."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.postgresql.failure import WorkError
from ansible.module_utils.postgresql.work import Server

DOCUMENTATION = r"""
module: postgresql
short_description: Keep the PostgreSQL server of a machine
description:
  - Makes the cluster of databases, or copies it from the primary, has the server take in its
    settings, and keeps roles, databases and replication slots.
  - A cluster that has to give way is put aside and never deleted.
author:
  - The provision authors
options:
  state:
    description: With V(verified), nothing is changed and a difference is a failure.
    type: str
    choices: [present, verified]
    default: present
  primary:
    description: Whether the server is the one that is written to.
    type: bool
    required: true
  port:
    description: Its TCP port.
    type: int
    required: true
  directory:
    description: Folder that the cluster's own folder, C(data), is in.
    type: path
    required: true
  peers:
    description: The other machines, by C(name), C(address) and C(slot).
    type: list
    elements: dict
    required: true
  slot:
    description: The machine's own replication slot at the primary.
    type: str
    required: true
  content:
    description: What the server should hold, as C(roles) and C(databases) by name.
    type: dict
    required: true
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Keep the primary
  postgresql:
    primary: true
    port: 5432
    directory: /var/lib/postgresql/provision
    peers: [{name: n2, address: 192.0.2.12, slot: replica_n2}]
    slot: replica_n1
    content: {roles: {}, databases: {}}
"""

RETURN = r"""
changes:
  description: What was done; with check mode, what differs.
  returned: always
  type: list
  elements: str
  sample: ["role app is missing, wanted present"]
"""


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "verified"], "default": "present"},
            "primary": {"type": "bool", "required": True},
            "port": {"type": "int", "required": True},
            "directory": {"type": "path", "required": True},
            "peers": {"type": "list", "elements": "dict", "required": True},
            "slot": {"type": "str", "required": True},
            # Says whether roles have a password, and none of them.
            "content": {"type": "dict", "required": True, "no_log": False},
        },
        supports_check_mode=True,
    )
    server = Server(module.params)
    try:
        changes = server.differences()
        if changes and module.params["state"] == "verified":
            module.fail_json(msg="the server is not as it should be:\n" + "\n".join(changes))
        if changes and not module.check_mode:
            changes = server.bring()
    except WorkError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(changes), changes=changes)


if __name__ == "__main__":
    main()
