"""Plays of real ansible-playbook on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from provision.adapters.ansible import AnsibleRunner
from provision.effects import Effect
from provision.errors import DiskFullError
from provision.events import Event

PLAY = """\
- name: A play that goes on
  hosts: all
  gather_facts: false
  tasks:
    - name: Answer
      ansible.builtin.command: "true"
      changed_when: true
    - name: Take long
      ansible.builtin.wait_for: {path: "{{ playbook_dir }}/enough", sleep: 1, timeout: 60}
      when: provision_takes_long
"""


def effect(folder: Path, *, takes_long: bool) -> Effect:
    play = folder / "play.yml"
    play.write_text(PLAY)
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    return Effect(
        "machine", str(play), {"n1": here}, variables={"provision_takes_long": takes_long}
    )


def test_what_a_play_does_is_told(tmp_path: Path) -> None:
    told: list[Event] = []
    runner = AnsibleRunner(tmp_path / "work")
    result = runner.run(effect(tmp_path, takes_long=False), told.append, lambda: False)
    assert result.changed == {"n1": 1}
    assert ("Answer", "changed") in [(event.text, event.data["status"]) for event in told]
    assert list((tmp_path / "work").iterdir()) == []


def test_a_play_that_cannot_be_recorded_is_ended(tmp_path: Path) -> None:
    """As when the controller's disk is full: nobody would know what it does."""

    def emit(event: Event) -> None:
        raise DiskFullError("the journal cannot be written")

    with pytest.raises(DiskFullError):
        AnsibleRunner(tmp_path / "work").run(effect(tmp_path, takes_long=True), emit, lambda: False)
    # The task at work goes on, as on a machine; the play that would begin the next one does not.
    assert "ansible-playbook" not in children()
    (tmp_path / "enough").touch()


def children() -> str:
    """Command lines of the processes that this one started."""
    numbers = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children"))
    lines = [Path("/proc", number, "cmdline").read_text() for number in numbers.split()]
    return "\n".join(lines).replace("\0", " ")
