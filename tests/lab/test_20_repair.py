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
    from collections.abc import Mapping

    from tests.lab.machines import Lab, Machine

VICTIM = "n2"
OWN_SYSCTLS = ("net.", "kernel.hostname")
"""Sysctls that each machine has for itself; the others belong to the kernel, which containers
share."""
PHASES = [
    phase.name for phase in phases_of(read_site(SITE_FILE).site) if isinstance(phase, AnsiblePhase)
]


OWN_FOLDERS = ("/etc/", "/usr/", "/opt/")
"""Where roles keep what they manage; elsewhere a living cluster writes."""


def test_all_damage_at_once_is_named_and_repaired(lab: Lab, context: Context) -> None:
    _damaged_and_repaired(lab, {name: _desired(context, name) for name in PHASES})


@pytest.mark.soak
@pytest.mark.parametrize("name", PHASES)
def test_damage_is_named_and_repaired(lab: Lab, context: Context, name: str) -> None:
    desired = _desired(context, name)
    if desired.files or desired.units or desired.sysctls:
        _damaged_and_repaired(lab, {name: desired})


def _damaged_and_repaired(lab: Lab, wanted: Mapping[str, DesiredState]) -> None:
    """Damage all that these phases keep true on one machine; see it named, and repaired alone."""
    before = _files(lab)
    damaged = {name: _damage(lab.machines[VICTIM], desired) for name, desired in wanted.items()}
    damaged = {name: things for name, things in damaged.items() if things}

    planned = json.loads(lab.provision("plan", "--json", expect=2))["phases"]
    touched = {phase for phase, decision in planned.items() if decision["decision"] == "run"}
    assert touched == set(damaged)
    for name, things in damaged.items():
        assert planned[name]["hosts"] == [VICTIM]
        reasons = planned[name]["reasons"][VICTIM]
        for thing in things:
            assert any(thing in reason for reason in reasons), (name, thing, reasons)

    lab.provision("up", "--no-verify")
    lab.provision("plan", expect=0)
    after = _files(lab)
    mended = {file.path for desired in wanted.values() for file in desired.files}
    for machine, files in before.items():
        for path, (*kind, _) in files.items():
            found = after[machine].get(path)
            if machine == VICTIM and path in mended:
                assert found is not None, path
                assert found[:-1] == kind, path
            else:
                assert found == files[path], (machine, path)


def _files(lab: Lab) -> dict[str, dict[str, list[object]]]:
    """Mode, owner, group, size and time of change of all that roles could manage, by machine."""
    return {
        name: {
            path: entry
            for path, entry in machine.look()["files"].items()
            if path.startswith(OWN_FOLDERS)
        }
        for name, machine in lab.machines.items()
    }


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
