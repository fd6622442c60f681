"""Members without a leader are asked again for a moment, unless they cannot choose one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from provision.adapters.vault import settled
from provision.vault.api import Member, VaultApi

SEALED = Member(initialized=True, sealed=True)
STANDBY = Member(initialized=True, sealed=False)
ACTIVE = Member(initialized=True, sealed=False, active=True)
GONE = Member(error="no route to host")


@dataclass
class Electing:
    """A member that tells one thing after another, and the last one for ever."""

    told: list[Member]
    asked: int = field(default=0)

    def member(self) -> Member:
        self.asked += 1
        return self.told[min(self.asked, len(self.told)) - 1]


def members(*told: list[Member]) -> dict[str, Electing]:
    return {f"n{number}": Electing(states) for number, states in enumerate(told, 1)}


def ask(apis: dict[str, Electing], seconds: float) -> list[Member]:
    return list(settled(cast("dict[str, VaultApi]", apis), seconds).values())


def test_a_choice_is_waited_for() -> None:
    apis = members([STANDBY, ACTIVE], [STANDBY], [GONE])
    assert ask(apis, 60) == [ACTIVE, STANDBY, GONE]


@pytest.mark.parametrize(
    "told",
    [(ACTIVE, STANDBY, GONE), (STANDBY, GONE, GONE), (STANDBY, SEALED, SEALED), (GONE, GONE, GONE)],
)
def test_what_leads_and_what_cannot_choose_is_asked_once(told: tuple[Member, ...]) -> None:
    apis = members(*([member] for member in told))
    assert ask(apis, 60) == list(told)
    assert {api.asked for api in apis.values()} == {1}


def test_a_choice_that_does_not_come_is_told_as_it_is() -> None:
    assert ask(members([STANDBY], [STANDBY], [STANDBY]), 0) == [STANDBY] * 3
