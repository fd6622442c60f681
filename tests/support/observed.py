"""What the reader answers for a machine that is fit, to be changed by each case."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

GIB = 1 << 30


def observed(address: str, number: int) -> dict[str, Any]:
    """The answer of a virgin Debian 12 machine with the address ``address``."""
    return {
        "clock": {"started": 0.0, "finished": 0.1, "offset": 0.0, "uncertainty": 0.05},
        "connect": {},
        "system": {
            "os": {
                "id": "debian",
                "version_id": "12",
                "pretty_name": "Debian GNU/Linux 12 (bookworm)",
            },
            "architecture": "amd64",
            "python": "3.11.2",
            "kernel": {
                "release": "6.1.0-40-amd64",
                "features": {"BPF system call": True, "VXLAN": True},
            },
            "cgroup": 2,
            "cpus": 2,
            "memory_bytes": 4 * GIB,
            "disks": {
                path: {"total_bytes": 40 * GIB, "free_bytes": 30 * GIB, "mount": "/"}
                for path in (
                    "/",
                    "/var",
                    "/var/lib/containerd",
                    "/var/lib/etcd",
                    "/var/lib/kubelet",
                )
            },
            "hostname": f"debian{number}",
            "machine_id": f"{number:032x}",
            "interfaces": {
                "lo": {
                    "mac": "00:00:00:00:00:00",
                    "mtu": 65536,
                    "up": True,
                    "physical": False,
                    "addresses": ["127.0.0.1/8", "::1/128"],
                },
                "eth0": {
                    "mac": f"52:54:00:00:00:{number:02x}",
                    "mtu": 1500,
                    "up": True,
                    "physical": True,
                    "addresses": [f"{address}/24"],
                },
            },
            "default_route": {"interface": "eth0", "gateway": "192.0.2.254"},
            "swap": [],
            "resolver": {"servers": {"192.0.2.253": True}, "upstream": False, "own_name": True},
            "listening": [
                {
                    "protocol": "tcp",
                    "address": "0.0.0.0",  # noqa: S104 - what a machine said, nothing listens
                    "port": 22,
                    "process": "sshd",
                    "pid": 100,
                }
            ],
            "site": None,
            "leftovers": {"paths": [], "interfaces": [], "runtimes": []},
            "unfinished": [],
        },
    }


def changed(base: Mapping[Any, Any], change: Mapping[Any, Any]) -> dict[str, Any]:
    """``base`` with ``change`` laid over it.

    Mappings are merged, all else is replaced, and so is what a key ending in ``!`` names.
    """
    result = copy.deepcopy(dict(base))
    for key, value in change.items():
        if isinstance(key, str) and key.endswith("!"):
            result[key[:-1]] = copy.deepcopy(value)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = changed(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result
