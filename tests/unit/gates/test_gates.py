"""Waiting for named conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from provision.errors import DeadlineError
from provision.gates import Gates
from provision.phase import GateSpec


@dataclass
class Clock:
    """Time passes only by pausing."""

    now: float = 0.0

    def read(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Kettle:
    """Boils after some seconds."""

    clock: Clock
    boils_at: float
    asked: list[Mapping[str, Any]] = field(default_factory=list)

    def boils(self, arguments: Mapping[str, Any]) -> tuple[bool, str]:
        self.asked.append(arguments)
        return self.clock.now >= self.boils_at, f"{20 + 10 * int(self.clock.now / 2)} degrees"


def wait(kettle: Kettle, seconds: float, told: list[str], stop_at: float = 1e9) -> None:
    gates = Gates(
        {"water boiling": kettle.boils}, clock=kettle.clock.read, pause=kettle.clock.pause
    )
    gate = GateSpec("water boiling", seconds, {"kettle": "blue"})
    gates.wait(gate, told.append, lambda: kettle.clock.now >= stop_at)


def test_returns_once_the_condition_holds() -> None:
    kettle = Kettle(Clock(), boils_at=5)
    told: list[str] = []
    wait(kettle, 60, told)
    assert kettle.clock.now == 5
    assert told == ["20 degrees", "30 degrees", "40 degrees"]
    assert kettle.asked[0] == {"kettle": "blue"}


def test_says_the_last_thing_seen_at_the_deadline() -> None:
    with pytest.raises(DeadlineError) as caught:
        wait(Kettle(Clock(), boils_at=100), 4, [])
    assert caught.value.what == "waited 4 seconds in vain for: water boiling"
    assert caught.value.found == "40 degrees"
    assert caught.value.fix == "provision status"


def test_a_condition_that_holds_already_is_asked_once() -> None:
    kettle = Kettle(Clock(), boils_at=0)
    wait(kettle, 0, [])
    assert len(kettle.asked) == 1


def test_stops_when_cancelled() -> None:
    kettle = Kettle(Clock(), boils_at=100)
    wait(kettle, 60, [], stop_at=3)
    assert kettle.clock.now == 3
