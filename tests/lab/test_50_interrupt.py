"""Taken off, and killed midway through a first installation: running again always ends well."""

from __future__ import annotations

import json
import os
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.machines import KEY_FOLDER, CommandError, Lab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LEFT_BEHIND = (
    "/etc/kubernetes",
    "/etc/cni/net.d",
    "/etc/containerd",
    "/etc/provision",
    "/opt/cni/bin",
    "/usr/local/bin/kubelet",
    "/usr/local/bin/containerd",
    "/var/lib/provision",
    "/var/lib/etcd/member",
    "/var/lib/kubelet/pki",
    "/var/lib/cni",
    "/var/run/cilium",
)

Moment = tuple[str, str, int]
"""Phase, kind of event, and which one of them."""

FEW: list[Moment] = [("depot", "task", 2), ("kubernetes", "task", 3), ("cilium", "waiting", 1)]
MANY: list[Moment] = [
    ("machine", "phase-started", 1),
    ("machine", "task", 2),
    ("api_endpoint", "task", 1),
    ("depot", "task", 2),
    ("containerd", "task", 1),
    ("kubernetes", "phase-started", 1),
    ("kubernetes", "task", 3),
    ("kubernetes", "task", 8),
    ("kubernetes", "task", 14),
    ("cilium", "waiting", 1),
]
"""In the order in which a first installation comes to them."""


def test_reset_leaves_nothing_behind(lab: Lab) -> None:
    lab.provision("reset", "--yes")
    for machine in lab.machines.values():
        left = machine.run(f"ls -d {' '.join(LEFT_BEHIND)} 2>/dev/null || true")
        assert left == "", machine.name
        links = machine.run("ip -o link")
        assert "cilium" not in links
        assert "lxc" not in links
        assert "provision" not in machine.run("nft list tables || true")
        mounts = machine.run("cat /proc/mounts")
        assert "/var/lib/kubelet/pods" not in mounts
        assert "containerd/io.containerd" not in mounts


def test_up_killed_at_some_moments_ends_healthy(lab: Lab, report: Callable[[str], None]) -> None:
    _kill_at(lab, FEW, report)


@pytest.mark.soak
def test_a_controller_that_lost_the_secrets_can_reset(lab: Lab, tmp_path: Path) -> None:
    shutil.copytree(lab.state.parent / KEY_FOLDER, tmp_path / "provision" / KEY_FOLDER)
    Lab(lab.site_file, tmp_path, lab.extra).provision("reset", "--yes")
    for machine in lab.machines.values():
        assert machine.run(f"ls -d {' '.join(LEFT_BEHIND)} 2>/dev/null || true") == "", machine.name


@pytest.mark.soak
def test_up_killed_at_many_moments_ends_healthy(lab: Lab, report: Callable[[str], None]) -> None:
    if (lab.state / "secrets" / "kubernetes").is_dir():
        lab.provision("reset", "--yes")
    _kill_at(lab, MANY, report)


def _kill_at(lab: Lab, moments: list[Moment], report: Callable[[str], None]) -> None:
    """Start ``up`` again and again, each time killed at the next moment; then let it finish."""
    for moment in moments:
        process = lab.start("up", "--no-verify", "--json")
        seen = 0
        printed = []
        assert process.stdout is not None
        for line in process.stdout:
            printed.append(line)
            if _matches(line, moment):
                seen += 1
                if seen == moment[2]:
                    os.kill(process.pid, signal.SIGKILL)
                    break
        process.stdout.close()
        code = process.wait(timeout=600)
        if code != -signal.SIGKILL:
            raise CommandError(f"{moment} never came, exit {code}\n{''.join(printed[-30:])}")
        report(f"killed at {'/'.join(map(str, moment))}")
    lab.provision("up", "--no-verify")
    lab.provision("status")
    lab.provision("plan", expect=0)


def _matches(line: str, moment: Moment) -> bool:
    try:
        event: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:
        return False
    return event.get("phase") == moment[0] and event.get("event") == moment[1]
