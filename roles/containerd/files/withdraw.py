#!/usr/bin/env python3
"""Ends what containerd still runs on this machine, and removes what it keeps.

Prints a line for each thing that it ended or removed. While containerd runs,
containers end in order; what is left then is killed with its shim.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from pathlib import Path

UNIT = "containerd.service"
CTR = "/usr/local/bin/ctr"
KEPT = ("/var/lib/containerd", "/var/lib/cni", "/etc/cni/net.d", "/opt/cni/bin")
"""Folders that are emptied, and removed where they are no mount points."""
RUNTIME = ("/run/containerd", "/run/cni")


def main() -> None:
    """Tasks first, then processes that are left, mounts, and folders last."""
    if _is_active():
        end_tasks()
    _run("systemctl", "disable", "--quiet", "--now", UNIT)
    kill_shims()
    unmount()
    for folder in (*RUNTIME, *KEPT):
        remove(Path(folder))
    for netns in sorted(Path("/run/netns").glob("cni-*")):
        netns.unlink()
        print(f"network namespace {netns.name}")


def end_tasks() -> None:
    """Kill and delete every container in every namespace."""
    for namespace in _lines(CTR, "namespaces", "list", "--quiet"):
        ctr = (CTR, "--namespace", namespace)
        for task in _lines(*ctr, "tasks", "list", "--quiet"):
            _run(*ctr, "tasks", "delete", "--force", task)
            print(f"container {namespace}/{task}")


def kill_shims() -> None:
    """Kill shims that are left, after the containers' processes that are their children."""
    for entry in sorted(Path("/proc").glob("[0-9]*")):
        try:
            program = (entry / "exe").readlink().name
        except OSError:
            continue
        if program.removesuffix(" (deleted)") == "containerd-shim-runc-v2":
            shim = int(entry.name)
            children = (entry / "task" / entry.name / "children").read_text().split()
            for process in (*map(int, children), shim):
                os.kill(process, signal.SIGKILL)
            print(f"shim {shim}")


def unmount() -> None:
    """Take down every mount below containerd's folders, the innermost first."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for target in sorted(mounts, key=len, reverse=True):
        inside = any(target.startswith(f"{folder}/") for folder in (*RUNTIME, *KEPT))
        if inside or target.startswith("/run/netns/cni-"):
            _run("umount", "--lazy", target)
            print(f"mount {target}")


def remove(folder: Path) -> None:
    """Remove a folder with everything in it; a mount point only loses its content."""
    if not folder.is_dir():
        return
    content = list(folder.iterdir())
    for entry in content:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        if not content:
            return
    print(f"folder {folder}")


def _is_active() -> bool:
    done = _run("systemctl", "is-active", "--quiet", UNIT)
    return done.returncode == 0 and Path(CTR).exists()


def _lines(*command: str) -> list[str]:
    return _run(*command).stdout.split()


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        # A containerd that hangs does not keep its shims from being killed next.
        return subprocess.CompletedProcess(command, 124, "", "it did not end in time")


if __name__ == "__main__":
    main()
