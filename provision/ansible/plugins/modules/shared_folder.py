#!/usr/bin/python
"""Makes the folders on a shared file system, and leaves this machine's mark on it."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: shared_folder
short_description: Prove that a machine can write to a shared file system
description:
  - Writes the machine's mark, by which the others see that they share a file system with it, and
    makes the folder for volumes.
  - Fails where the file system is not mounted, and where the server maps root to somebody else
    although that was not said.
author:
  - The provision authors
options:
  path:
    description: Where the file system is mounted.
    type: path
    required: true
  mark:
    description: The mark, a file below O(path); it holds its own name.
    type: path
    required: true
  volumes:
    description: The folder for volumes below O(path).
    type: path
    required: true
  root_squash:
    description: Whether the server maps root to nobody; the folders must be there then.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Prove that the machine can write
  shared_folder:
    path: /srv/shared
    mark: /srv/shared/.provision/site/n1
    volumes: /srv/shared/volumes
"""

RETURN = r"""
owner:
  description: Number of the user to whom root's files belong on the file system.
  returned: when the mark was written
  type: int
"""


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "mark": {"type": "path", "required": True},
            "volumes": {"type": "path", "required": True},
            "root_squash": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    path, mark, volumes = (Path(module.params[name]) for name in ("path", "mark", "volumes"))
    wanted = f"{mark.name}\n"
    if not _is_mounted(module, path):
        if module.check_mode:
            module.exit_json(changed=True)
        module.fail_json(msg=f"nothing is mounted at {path}")
    try:
        if _is_there(mark, volumes, wanted):
            owner, changed = mark.stat().st_uid, False
        elif module.check_mode:
            module.exit_json(changed=True)
        else:
            mark.parent.mkdir(parents=True, exist_ok=True)
            volumes.mkdir(exist_ok=True)
            mark.write_text(wanted, "utf-8")
            owner, changed = mark.stat().st_uid, True
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename} cannot be written: {(error.strerror or '').lower()}. A server"
            f" that maps root to nobody needs {mark.parent} and {volumes} made beforehand,"
            " belonging to nobody, and shared_storage.root_squash: true"
        )
    if owner != 0 and not module.params["root_squash"]:
        module.fail_json(
            msg=f"what root writes to {path} belongs to user {owner}: the server maps root to"
            " somebody else. Let it not (no_root_squash), or say so: shared_storage.root_squash:"
            " true"
        )
    module.exit_json(changed=changed, owner=owner)


def _is_mounted(module: AnsibleModule, path: Path) -> bool:
    # os.path.ismount takes a bind of a folder of the same file system for none.
    status, _, _ = module.run_command(["mountpoint", "--quiet", str(path)])
    return bool(status == 0)


def _is_there(mark: Path, volumes: Path, wanted: str) -> bool:
    return volumes.is_dir() and mark.is_file() and mark.read_text("utf-8") == wanted


if __name__ == "__main__":
    main()
