#!/usr/bin/python
"""Keeps secrets of the site in its Vault; the action plugin of the same name does it all."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: vault_secrets
short_description: Keep secrets of the site in its Vault
description:
  - Writes what is missing or another, from the controller, where the site's secrets are. Nothing
    is done on the machine.
  - Nothing is written where Vault does not serve.
author:
  - The provision authors
options:
  members:
    description: Address of every member of Vault by machine.
    type: dict
    required: true
  secrets:
    description:
      - By path in Vault, C(fields) as they are to be, as C(secrets) the names of the site's secrets
        that are further fields, and as C(initial) those that a field is begun with; what such a
        field is later is for others to say.
    type: dict
    required: true
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Keep a password
  vault_secrets:
    members: {n1: https://192.0.2.11:8200}
    secrets:
      secret/postgresql/app: {fields: {username: app}, secrets: {password: postgresql/role/app}}
"""

RETURN = r"""
"""


def main() -> None:
    """Ansible's entry point; the action plugin never lets it run."""
    module = AnsibleModule(
        argument_spec={
            "members": {"type": "dict", "required": True},
            # Names of secrets, none of them.
            "secrets": {"type": "dict", "required": True, "no_log": False},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
