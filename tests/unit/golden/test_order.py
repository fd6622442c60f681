"""The order of phases, committed, so that a change of it shows in review."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from provision.paths import playbooks_path
from provision.phase import AnsiblePhase
from provision.plan import discover

Golden = Callable[[str, str], None]


def test_the_order_of_phases(golden: Golden) -> None:
    lines = [
        f"{phase.name}: {'after ' + ', '.join(phase.after) if phase.after else 'first'}"
        for phase in discover()
    ]
    golden("plan.txt", "\n".join(lines) + "\n")


def test_the_playbook_of_the_whole_site_has_that_order(request: pytest.FixtureRequest) -> None:
    imports = "".join(
        f"- name: Play {phase.name}\n  ansible.builtin.import_playbook: {phase.name}.yml\n"
        for phase in discover()
        if isinstance(phase, AnsiblePhase)
    )
    path = playbooks_path() / "site.yml"
    if request.config.getoption("--update-golden"):
        path.write_text(f"---\n{imports}")
    assert path.read_text() == f"---\n{imports}"
