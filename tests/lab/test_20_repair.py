"""Whatever a role keeps true: damaged, it is named by the plan, and repaired alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from provision.app import read_site
from provision.phase import AnsiblePhase, Context
from provision.plan import discover, phases_of
from provision.state import DesiredState
from tests.lab.machines import SITE_FILE

if TYPE_CHECKING:
    from tests.lab.machines import Lab, Machine

VICTIM = "n2"
OWN_SYSCTLS = ("net.", "kernel.hostname")
"""Sysctls that each machine has for itself; the others belong to the kernel, which containers
share."""
PHASES = [
    phase.name for phase in phases_of(read_site(SITE_FILE).site) if isinstance(phase, AnsiblePhase)
]


@pytest.mark.parametrize("name", PHASES)
def test_damage_is_named_and_repaired(lab: Lab, context: Context, name: str) -> None:
    machine = lab.machines[VICTIM]
    desired = _desired(context, name)
    damaged = _damage(machine, desired)
    if not damaged:
        assert (desired.files, desired.units, desired.sysctls) == ((), (), {})
        return
    before = {other: m.look()["files"] for other, m in lab.machines.items() if other != VICTIM}

    planned = json.loads(lab.provision("plan", "--json", expect=2))["phases"]
    assert planned[name]["hosts"] == [VICTIM]
    reasons = planned[name]["reasons"][VICTIM]
    for thing in damaged:
        assert any(thing in reason for reason in reasons), (thing, reasons)
    touched = {phase for phase, decision in planned.items() if decision["decision"] == "run"}
    assert touched == {name}

    lab.provision("up", "--no-verify")
    lab.provision("plan", expect=0)
    after = {other: m.look()["files"] for other, m in lab.machines.items() if other != VICTIM}
    for other, files in before.items():
        for path in (path for path in files if path.startswith(("/etc/", "/usr/", "/opt/"))):
            assert after[other].get(path) == files[path], (other, path)


def _desired(context: Context, name: str) -> DesiredState:
    phase = next(item for item in discover() if item.name == name)
    assert isinstance(phase, AnsiblePhase)
    return phase.desired(context, VICTIM)


def _damage(machine: Machine, desired: DesiredState) -> list[str]:
    """Damage every file, unit and sysctl of a role on one machine; their names."""
    commands: list[str] = []
    for unit in desired.units:
        if unit.active and unit.name.endswith(".service") and unit.name != "ssh.service":
            commands.append(f"systemctl stop {unit.name}")
        if unit.enabled:
            commands.append(f"systemctl disable --quiet {unit.name}")
    names = [unit.name for unit in desired.units if unit.enabled or unit.active]
    for file in desired.files:
        # A binary that runs cannot be written to; replaced by a copy with a byte more, it can.
        commands.append(
            f"cp -p {file.path} {file.path}.damaged && echo '#' >> {file.path}.damaged"
            f" && mv {file.path}.damaged {file.path}"
        )
        names.append(file.path)
    for key, value in desired.sysctls.items():
        if not key.startswith(OWN_SYSCTLS):
            continue
        commands.append(f"sysctl -qw {key}={_other(value)}")
        names.append(key)
    machine.run("set -e; " + "; ".join(["true", *commands]))
    return names


def _other(value: str) -> str:
    """A value that a sysctl takes and that is not ``value``."""
    if not value.isdigit():
        return "damaged"
    number = int(value)
    return str(1 - number if number < 2 else number + 1)
