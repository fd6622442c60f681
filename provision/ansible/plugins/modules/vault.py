#!/usr/bin/python
"""Does on a machine what Vault needs there; the action plugin of the same name calls it."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.vault.machine import (
    WorkError,
    empty,
    encrypt,
    forget,
    keep_keys,
    mark,
    renew,
    restart,
    seal,
    unmark,
)
from ansible.module_utils.vault.transit import Key

DOCUMENTATION = r"""
module: vault
short_description: Bring a member of Vault up, one step at a time
description:
  - The action plugin speaks to Vault from the controller, where the site's secrets are, and has
    this module do what is done on the machine.
author:
  - The provision authors
options:
  step:
    description:
      - V(seal) proves that another Vault lets this machine use the key that it keeps, and encrypts
        the token for it to the machine.
      - V(begin) proves that keys can be kept. V(ready) marks a Vault that was never used, or
        begins anew with one that was asked for its keys in vain.
      - V(initialise) initialises it and keeps its keys. V(unseal) unseals it, and
        encrypts the keys to a machine that unseals it by itself.
      - V(encrypt) encrypts to the machine what it takes snapshots with. V(configure) makes Vault
        hold what is wanted. V(finish) takes the marker away.
      - V(withdraw) takes the auth methods of a configuration out of Vault.
    type: str
    choices: [seal, begin, ready, initialise, unseal, encrypt, configure, finish, withdraw]
    required: true
  members:
    description: Address of every member by machine.
    type: dict
  lead:
    description: The member that the others join.
    type: str
  unseal:
    description: V(manual) where people unseal; only a Vault that is not set up is unsealed then.
    type: str
  transit:
    description: Where another Vault keeps the key, as C(address), C(namespace), C(mount), C(key),
      C(authority), and the name of its C(token).
    type: dict
  shares:
    description: Into how many shares the unsealing key is split.
    type: int
  threshold:
    description: How many shares unseal.
    type: int
  pgp_keys:
    description: Files on the controller with public PGP keys, one a share.
    type: list
    elements: str
  configuration:
    description: What Vault should hold.
    type: dict
  work:
    description: What is to be done here. The action plugin fills it in.
    type: str
    choices: [forget, keep-keys, mark, unmark, empty, renew, restart, encrypt, seal]
  attempt:
    description: The attempt to initialise that the machine takes part in.
    type: str
  name:
    description: Name of a credential.
    type: str
  path:
    description: File of the credential.
    type: path
  content:
    description: Content of the credential.
    type: str
  key:
    description: The key that another Vault keeps, without the token.
    type: dict
  digest:
    description: What tells the proven key and token from others.
    type: str
  prove:
    description: Whether the key is tried though it was proven before.
    type: bool
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Unseal this member
  vault:
    step: unseal
"""

RETURN = r"""
"""


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "step": {"type": "str", "required": True},
            "members": {"type": "dict"},
            "lead": {"type": "str"},
            "unseal": {"type": "str"},
            "transit": {"type": "dict"},
            "shares": {"type": "int"},
            "threshold": {"type": "int"},
            "pgp_keys": {"type": "list", "elements": "str", "no_log": False},
            "configuration": {"type": "dict"},
            "work": {
                "type": "str",
                "choices": [
                    "forget",
                    "keep-keys",
                    "mark",
                    "unmark",
                    "empty",
                    "renew",
                    "restart",
                    "encrypt",
                    "seal",
                ],
            },
            "attempt": {"type": "str"},
            "name": {"type": "str"},
            "path": {"type": "path"},
            "content": {"type": "str", "no_log": True},
            # Its name, never itself: without a word Ansible would hide it wherever it is said.
            "key": {"type": "dict", "no_log": False},
            "digest": {"type": "str"},
            "prove": {"type": "bool"},
        },
        supports_check_mode=True,
    )
    given = module.params
    if module.check_mode or given["work"] is None:
        module.exit_json(changed=False)
    try:
        works = {
            "forget": lambda: forget(Path(given["path"])),
            "mark": lambda: mark(given["attempt"]),
            "unmark": unmark,
            "empty": lambda: empty(given["attempt"]),
            "renew": lambda: renew(given["attempt"]),
            "restart": restart,
            "seal": lambda: seal(
                Key(**given["key"]),
                given["content"],
                given["digest"],
                given["name"],
                Path(given["path"]),
                prove=given["prove"],
            ),
            "keep-keys": lambda: keep_keys(
                given["name"], Path(given["path"]), given["content"].encode()
            ),
            "encrypt": lambda: encrypt(
                given["name"], Path(given["path"]), given["content"].encode()
            ),
        }
        module.exit_json(changed=works[given["work"]]())
    except WorkError as failure:
        module.fail_json(msg=str(failure))


if __name__ == "__main__":
    main()
