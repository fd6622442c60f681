#!/usr/bin/python
"""Makes one machine a member of the cluster by kubeadm, keeps it one, or takes it out."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kubeadm import enter, keep, leave
from ansible.module_utils.kubeadm.commands import Commands
from ansible.module_utils.kubeadm.failure import WorkError
from ansible.module_utils.kubeadm.lock import alone
from ansible.module_utils.kubeadm.order import Order

DOCUMENTATION = r"""
module: kubeadm
short_description: Make a machine a member of a Kubernetes cluster, keep it one, or take it out
description:
  - Runs kubeadm under a lock, so that one which a killed run left behind has ended first, and then
    looks at the machine anew.
  - What was interrupted is completed. When all is done a stamp is written to
    C(/var/lib/provision/stamps/kubernetes.json), which the next plan reads.
author:
  - The provision authors
options:
  step:
    description:
      - V(init) makes the cluster, V(join) joins it.
      - V(rejoin) joins again on a control-plane machine that lost its data of etcd.
      - V(keep) repairs and renews what O(repair), O(renew), O(register) and O(apply_objects) name.
      - V(leave) takes the machine out of the cluster and Kubernetes off the machine.
    type: str
    choices: [init, join, rejoin, keep, leave]
    required: true
  version:
    description: Kubernetes version, without C(v).
    type: str
    required: true
  node:
    description: The machine's name as a node.
    type: str
    required: true
  address:
    description: The machine's own address.
    type: str
    required: true
  endpoint:
    description: Address and port of the API.
    type: str
    required: true
  control_plane:
    description: Whether the machine is a control-plane machine.
    type: bool
    required: true
  worker:
    description: Whether the machine runs ordinary pods.
    type: bool
    required: true
  peers:
    description: Addresses of the other control-plane machines; none takes the whole cluster off.
    type: list
    elements: str
    default: []
  repair:
    description: Paths of files to be made anew.
    type: list
    elements: str
    default: []
  renew:
    description: Certificates to renew, by kubeadm's names.
    type: list
    elements: str
    default: []
  register:
    description: Whether the machine's Node has to be made again.
    type: bool
    default: false
  apply_objects:
    description: Whether the objects that joining needs have to be applied.
    type: bool
    default: false
  credential:
    description: A kubeconfig for joining or leaving. The action plugin fills it in.
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Join the cluster
  kubeadm:
    step: join
    version: 1.36.3
    node: n2
    address: 10.0.0.12
    endpoint: 10.0.0.100:7443
    control_plane: true
    worker: true
    peers: [10.0.0.11]
"""

RETURN = r"""
"""

STEPS = {
    "init": enter.initialise,
    "join": enter.join,
    "rejoin": enter.rejoin,
    "keep": keep.keep,
    "leave": leave.leave,
}


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "step": {"type": "str", "choices": list(STEPS), "required": True},
            "version": {"type": "str", "required": True},
            "node": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "endpoint": {"type": "str", "required": True},
            "control_plane": {"type": "bool", "required": True},
            "worker": {"type": "bool", "required": True},
            "peers": {"type": "list", "elements": "str", "default": []},
            "repair": {"type": "list", "elements": "str", "default": []},
            "renew": {"type": "list", "elements": "str", "default": []},
            "register": {"type": "bool", "default": False},
            "apply_objects": {"type": "bool", "default": False},
            "credential": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    order = Order.of(module.params)
    if module.check_mode or not order.has_work:
        module.exit_json(changed=order.has_work)
    try:
        with alone() as lock:
            module.exit_json(changed=STEPS[order.step](order, Commands(lock)))
    except WorkError as failure:
        module.fail_json(msg=str(failure))


if __name__ == "__main__":
    main()
