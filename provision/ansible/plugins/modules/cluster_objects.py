#!/usr/bin/python
"""Keeps Kubernetes objects in the cluster, or takes them out."""

from __future__ import annotations

import json

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cluster_objects import work
from ansible.module_utils.cluster_objects.kubectl import ADMIN, Kubectl, ObjectsError

DOCUMENTATION = r"""
module: cluster_objects
short_description: Keep Kubernetes objects in the cluster, or take them out
description:
  - Applies by server-side apply what differs. Namespaces and definitions of kinds come first, and
    their instances last, as soon as the cluster takes them.
  - In a Secret, a value may be a mapping C(store) with the name of one of the site's secrets, or
    C(file) with a path on the controller. The action plugin fills it in; it travels over standard
    input only and never shows in a result.
  - Deletes in reverse, and waits until all is gone. Where no API server answers there is nothing
    to delete from.
author:
  - The provision authors
options:
  objects:
    description: The objects.
    type: list
    elements: dict
    required: true
  state:
    description: Whether the objects are kept or taken out.
    type: str
    choices: [present, absent]
    default: present
  order:
    description: For the action plugin's own use.
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Keep the component's objects
  cluster_objects:
    objects: "{{ metrics_server_objects }}"

- name: Take them out
  cluster_objects:
    objects: "{{ metrics_server_objects }}"
    state: absent
"""

RETURN = r"""
"""


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            # One string: every string inside a no_log list would be blotted out of results.
            "order": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    if module.params["order"] is None:
        module.fail_json(msg="cluster_objects works through its action plugin; see ansible.cfg")
    objects = json.loads(module.params["order"])
    kubectl = Kubectl()
    if not ADMIN.exists():
        wanted = module.params["state"] == "present"
        if wanted and not module.check_mode:
            module.fail_json(msg=f"this machine has no {ADMIN}: it does not run the cluster's API")
        module.exit_json(changed=wanted)
    try:
        if module.params["state"] == "absent":
            there = work.present(objects, kubectl)
            gone = there and (module.check_mode or work.delete(objects, kubectl))
            module.exit_json(changed=gone)
        if module.check_mode:
            module.exit_json(changed=work.differ(objects, kubectl))
        module.exit_json(changed=work.apply(objects, kubectl))
    except ObjectsError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
