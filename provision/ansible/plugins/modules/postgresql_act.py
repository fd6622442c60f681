#!/usr/bin/python
"""Does what an administrator asks of the PostgreSQL server of one machine."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.postgresql.failure import WorkError
from ansible.module_utils.postgresql.promotion import promote, step_back
from ansible.module_utils.postgresql.restore import Restoration
from ansible.module_utils.postgresql.units import BACKUP_UNIT, systemctl

DOCUMENTATION = r"""
module: postgresql_act
short_description: Back up, restore or promote the PostgreSQL server of a machine
description:
  - Each is an act of people; nothing of it follows from the site file.
  - Databases that have to give way are put aside and never deleted.
author:
  - The provision authors
options:
  act:
    description:
      - V(backup) makes a base backup now. V(restore) puts one back and goes through the log.
      - V(promote) makes a replica the primary. V(step_back) stops a primary that becomes a
        replica.
    type: str
    choices: [backup, restore, promote, step_back]
    required: true
  port:
    description: TCP port of the server.
    type: int
    required: true
  directory:
    description: Folder that the cluster's own folder, C(data), is in.
    type: path
    required: true
  backup_directory:
    description: Folder of the backups.
    type: path
    required: true
  backup:
    description: Name of the backup to put back; the newest that serves unless said.
    type: str
    default: ""
  time:
    description: Until when the log is gone through; all of it unless said.
    type: str
    default: ""
  overwrite:
    description: Whether databases that are there give way.
    type: bool
    default: false
attributes:
  check_mode:
    support: none
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Make a base backup now
  postgresql_act:
    act: backup
    port: 5432
    directory: /var/lib/postgresql/provision
    backup_directory: /var/backups/postgresql
"""

RETURN = r"""
changes:
  description: What was done.
  returned: always
  type: list
  elements: str
  sample: ["replica promoted"]
"""


def main() -> None:
    """Ansible's entry point."""
    acts = ["backup", "restore", "promote", "step_back"]
    module = AnsibleModule(
        argument_spec={
            "act": {"type": "str", "choices": acts, "required": True},
            "port": {"type": "int", "required": True},
            "directory": {"type": "path", "required": True},
            "backup_directory": {"type": "path", "required": True},
            "backup": {"type": "str", "default": ""},
            "time": {"type": "str", "default": ""},
            "overwrite": {"type": "bool", "default": False},
        }
    )
    given = module.params
    folder = Path(given["directory"], "data")
    try:
        match given["act"]:
            case "backup":
                systemctl("start", BACKUP_UNIT)
                changes = ["base backup made"]
            case "restore":
                changes = Restoration(given).run()
            case "promote":
                changes = promote(folder, given["port"])
            case _:
                changes = step_back(folder)
    except WorkError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(changes), changes=changes)


if __name__ == "__main__":
    main()
