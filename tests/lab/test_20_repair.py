"""Whatever a role keeps true: damaged, it is named by the plan, and repaired alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from provision.app import read_site
from provision.phase import AnsiblePhase, Context
from provision.plan import phases_of
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
KIND = 4
"""Mode, owner, group and size, before the time of change."""


def test_all_damage_at_once_is_named_and_repaired(lab: Lab, context: Context) -> None:
    _damaged_and_repaired(lab, _wanted(context))


@pytest.mark.soak
@pytest.mark.parametrize("name", PHASES)
def test_damage_is_named_and_repaired(lab: Lab, context: Context, name: str) -> None:
    wanted = _wanted(context)
    if name in wanted:
        _damaged_and_repaired(lab, {name: wanted[name]})


def _damaged_and_repaired(lab: Lab, wanted: Mapping[str, DesiredState]) -> None:
    """Damage all that these phases keep true on one machine; see it named, and repaired alone."""
    before = _files(lab)
    damaged = {name: _damage(lab.machines[VICTIM], desired) for name, desired in wanted.items()}

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
    for name, files in before.items():
        # Where it was worked on, services that start anew write some files of theirs as they were.
        compared = slice(KIND if name == VICTIM else None)
        for path, entry in files.items():
            assert after[name].get(path, [])[compared] == entry[compared], (name, path)


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


def _wanted(context: Context) -> dict[str, DesiredState]:
    """What each phase keeps true on the machine, if anything."""
    wanted = {
        phase.name: phase.desired(context, VICTIM)
        for phase in phases_of(context.site)
        if isinstance(phase, AnsiblePhase) and VICTIM in phase.hosts(context)
    }
    return {
        name: desired
        for name, desired in wanted.items()
        if desired.files or desired.units or desired.sysctls
    }


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
