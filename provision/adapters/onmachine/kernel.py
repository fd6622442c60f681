"""What the kernel can do, judged by its build options or by trying, not by file names alone."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path
from typing import Any

from provision.adapters.reader import kernel_config, module_available

_OPTIONS: dict[str, tuple[str, str]] = {
    "BPF JIT": ("BPF_JIT", ""),
    "BPF on cgroups": ("CGROUP_BPF", ""),
    "BPF traffic classifier": ("NET_CLS_BPF", "cls_bpf"),
    "BPF traffic actions": ("NET_CLS_ACT", ""),
    "ingress queueing": ("NET_SCH_INGRESS", "sch_ingress"),
    "routing rules": ("FIB_RULES", ""),
    "SHA1": ("CRYPTO_SHA1", "sha1_generic"),
    "overlay file system": ("OVERLAY_FS", "overlay"),
    "VXLAN": ("VXLAN", "vxlan"),
}
"""Feature: (build option, module that provides it or nothing).

From Cilium's system requirements (base, tunnelling and routing), and containerd's
snapshotter.
"""

_BPF_PROG_LOAD = 5
_BPF_PROG_TYPE_SOCKET_FILTER = 1
_BPF_NUMBER = {"x86_64": 321, "aarch64": 280}
"""Number of the system call bpf(2), by machine."""


def kernel() -> dict[str, Any]:
    """Release and features; a feature is None where nothing tells."""
    features: dict[str, bool | None] = {
        "BPF system call": _loads_bpf(),
        "BPF type information": os.access("/sys/kernel/btf/vmlinux", os.R_OK),
    }
    for name, (option, module) in _OPTIONS.items():
        features[name] = _feature(option, module)
    return {"release": platform.release(), "features": features}


def _feature(option: str, module: str) -> bool | None:
    config = kernel_config()
    built = config.get(option)
    if built == "y":
        return True
    if built == "m" or not config:
        # A modular part counts only while its module is really there to be loaded.
        return module_available(module) or (None if not config else False)
    return False


def _loads_bpf() -> bool | None:
    """Load the smallest program, ``return 0``, as a socket filter; it is gone with its file."""
    number = _BPF_NUMBER.get(platform.machine())
    if number is None:
        return None
    # struct bpf_insn: opcode, registers, offset, immediate.
    move = b"\xb7\x00\x00\x00\x00\x00\x00\x00"
    leave = b"\x95\x00\x00\x00\x00\x00\x00\x00"
    program = ctypes.create_string_buffer(move + leave)
    licence = ctypes.create_string_buffer(b"GPL")
    attributes = (ctypes.c_uint64 * 16)()
    attributes[0] = _BPF_PROG_TYPE_SOCKET_FILTER | (2 << 32)
    attributes[1] = ctypes.addressof(program)
    attributes[2] = ctypes.addressof(licence)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(
        number, _BPF_PROG_LOAD, ctypes.byref(attributes), ctypes.sizeof(attributes)
    )
    if descriptor < 0:
        return False
    os.close(descriptor)
    return True


def cgroup_version() -> int:
    """2 where the unified hierarchy alone is mounted, else 1."""
    return 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1
