#!/usr/bin/python
"""Formats a disk for volumes if it is empty, and refuses it if it is not."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.volume_disk.disk import LABEL, DiskError, contents, is_ours, make

DOCUMENTATION = r"""
module: volume_disk
short_description: Format a disk for volumes if it is empty
description:
  - Makes an ext4 file system with a label of its own on a block device that holds nothing.
  - One that holds anything else is refused with what it is. One that has this label already is
    left alone.
author:
  - The provision authors
options:
  device:
    description: Path of the block device.
    type: path
    required: true
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Format the disk if it is empty
  volume_disk:
    device: /dev/disk/by-id/nvme-eui.0025388b
"""

RETURN = r"""
"""


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={"device": {"type": "path", "required": True}}, supports_check_mode=True
    )
    device = module.params["device"]
    try:
        if is_ours(device):
            module.exit_json(changed=False)
        found = contents(device)
        if found:
            module.fail_json(
                msg=f"{device} is not empty: it holds {found}; nothing was changed. Name another"
                " disk in local_storage.machines of the site file, or clear this one yourself"
                f" (all on it is lost): wipefs --all {device}"
            )
        if not module.check_mode:
            make(device)
    except DiskError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, label=LABEL)


if __name__ == "__main__":
    main()
