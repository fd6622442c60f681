"""Taken off, and killed midway through a first installation: running again always ends well."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from provision.errors import ExitCode
from provision.vault.names import UNSEAL_CREDENTIAL
from tests.lab.machines import KEY_FOLDER, CommandError, Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
"""Phase, kind of event or name of a task that begins, and which one of them."""

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

INITIALISED: Moment = ("vault", "Initialise Vault and keep its keys", 1)
SERVICES: list[Moment] = [
    ("nfs_server", "task", 1),
    ("dns", "Keep the records", 1),
    ("vault", "phase-started", 1),
    ("vault", "Prove that keys can be kept", 1),
    ("vault", "Mark a Vault that was never used", 3),
    INITIALISED,
    ("vault", "Unseal this member", 2),
    ("vault", "Make Vault hold what the site says", 1),
    ("vault_kubernetes", "Keep the component's objects", 1),
    ("local_storage", "Keep the component's objects", 1),
    ("shared_storage", "Keep the mount", 1),
    ("metrics_server", "waiting", 1),
    ("cert_manager", "waiting", 1),
    ("load_balancer", "Keep the component's objects", 1),
]
"""Of what stands beside the cluster: some phases run at the same time, and a killed run's children
may end one of them, so that its moment does not come again."""
MANY_ENOUGH = 10


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


@pytest.mark.soak
@pytest.mark.services
def test_up_killed_among_the_services_loses_nothing(
    lab: Lab, report: Callable[[str], None]
) -> None:
    lab.provision("reset", "--yes")
    left = list(SERVICES)
    while moment := _killed(lab, left):
        left.remove(moment)
        report(f"killed at {'/'.join(map(str, moment))}")
        if not left:
            break
    assert INITIALISED not in left
    assert len(SERVICES) - len(left) >= MANY_ENOUGH, left
    lab.provision("up")
    lab.provision("status")
    lab.provision("plan", expect=0)

    # The shares that were kept are those of the Vault that stands.
    machine = lab.machines[list(lab.machines)[-1]]
    machine.run(f"mv {UNSEAL_CREDENTIAL} {UNSEAL_CREDENTIAL}.away && systemctl restart vault")
    assert "is sealed" in lab.provision("vault", "status", expect=ExitCode.UNHEALTHY)
    lab.provision("vault", "unseal")
    lab.provision("vault", "status")
    machine.run(f"mv {UNSEAL_CREDENTIAL}.away {UNSEAL_CREDENTIAL}")
    lab.provision("plan", expect=0)


def _kill_at(lab: Lab, moments: list[Moment], report: Callable[[str], None]) -> None:
    """Start ``up`` again and again, each time killed at the next moment; then let it finish."""
    for moment in moments:
        assert _killed(lab, [moment]) == moment
        report(f"killed at {'/'.join(map(str, moment))}")
    lab.provision("up", "--no-verify")
    lab.provision("status")
    lab.provision("plan", expect=0)


def _killed(lab: Lab, moments: list[Moment]) -> Moment | None:
    """Start ``up`` and kill it at the first moment that comes; None where it came to its end."""
    process = lab.start("up", "--no-verify", "--json")
    seen: Counter[tuple[str, str]] = Counter()
    printed = []
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            printed.append(line)
            for what in _happened(line):
                seen[what] += 1
                if (moment := (*what, seen[what])) in moments:
                    os.kill(process.pid, signal.SIGKILL)
                    process.wait(timeout=600)
                    return moment
    if code := process.wait(timeout=600):
        raise CommandError(f"exit {code}\n{''.join(printed[-30:])}")
    return None


def _happened(line: str) -> Iterator[tuple[str, str]]:
    """The phase of an event with its kind, and with its task where one begins."""
    try:
        event: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:
        return
    if phase := event.get("phase"):
        yield phase, event["event"]
        if event["event"] == "task" and event.get("status") == "started":
            yield phase, event["text"]
