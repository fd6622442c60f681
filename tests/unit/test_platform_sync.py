"""What ``platform sync`` asks Argo CD for, and what it says of the ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from provision.argocd.applications import Object
from provision.argocd.operation import operation_of
from provision.errors import DeadlineError
from provision.gates import Gates
from provision.verbs.platformsync import Synced, Synchronisation, render

RUNNING = {"operation": {"sync": {}}, "status": {"operationState": {"phase": "Running"}}}
DONE = {"status": {"operationState": {"phase": "Succeeded", "message": "successfully synced"}}}
FAILED = {"status": {"operationState": {"phase": "Failed", "message": "one object was refused"}}}
ASKED: Object = {"operation": {"sync": {}}, "status": {}}
STALE = {"operation": {"sync": {}}, **DONE}


class Argocd:
    """Applications that stand, at each look, as they are listed."""

    def __init__(self, states: Mapping[str, Sequence[Object]], busy: int = 0) -> None:
        self._states = {name: iter(listed) for name, listed in states.items()}
        self._busy = busy
        self.asked: list[tuple[str, bool]] = []

    def applications(self) -> Sequence[Object]:
        return [{"metadata": {"name": name}} for name in self._states]

    def application(self, name: str, *, refresh: bool = False) -> Object:
        automated = {"automated": {"prune": name == "pruning"}}
        spec = {"metadata": {"name": name}, "spec": {"syncPolicy": automated}}
        return spec if refresh else {**spec, **next(self._states[name])}

    def sync(self, name: str, *, prune: bool) -> bool:
        self._busy -= 1
        if self._busy >= 0:
            return False
        self.asked.append((name, prune))
        return True


def run(argocd: Argocd, *names: str, prune: bool = False) -> tuple[Synced, list[str]]:
    seconds: Iterator[int] = iter(range(100))

    def gates(conditions: Mapping[str, Any]) -> Gates:
        return Gates(conditions, clock=lambda: next(seconds), pause=lambda _: None)

    seen: list[str] = []
    syncing = Synchronisation(argocd, 5, seen.append, gates)
    return Synced(syncing.run(names, prune=prune)), seen


def test_each_is_waited_for() -> None:
    argocd = Argocd({"a": [ASKED, RUNNING, DONE], "b": [DONE]})
    synced, seen = run(argocd, "a", "b")
    assert synced.succeeded
    assert seen == ["a is Pending", "a is Running"]
    assert list(render(synced)) == [
        "ok   a  Succeeded  successfully synced",
        "ok   b  Succeeded  successfully synced",
    ]


def test_one_that_goes_on_is_waited_for_and_another_asked_for() -> None:
    argocd = Argocd({"a": [DONE]}, busy=1)
    synced, seen = run(argocd, "a")
    assert synced.succeeded
    assert seen == ["a is being synchronised already"]
    assert argocd.asked == [("a", False)]


def test_a_failure_is_told_and_the_others_are_not_given_up() -> None:
    synced, _ = run(Argocd({"a": [FAILED], "b": [RUNNING, DONE]}), "a", "b")
    assert not synced.succeeded
    assert next(render(synced)) == "BAD  a  Failed     one object was refused"
    assert [one.succeeded for one in synced.operations] == [False, True]


@pytest.mark.parametrize(("given", "wanted"), [(False, [False, True]), (True, [True, True])])
def test_what_is_surplus_goes_where_the_application_or_the_caller_says(
    given: bool, wanted: list[bool]
) -> None:
    argocd = Argocd({"keeping": [DONE], "pruning": [DONE]})
    run(argocd, "keeping", "pruning", prune=given)
    assert sorted(argocd.asked) == list(zip(["keeping", "pruning"], wanted, strict=True))


def test_the_end_of_an_earlier_one_does_not_count() -> None:
    assert not operation_of({"metadata": {"name": "a"}, **STALE}).ended


def test_it_does_not_wait_for_ever() -> None:
    with pytest.raises(DeadlineError) as caught:
        run(Argocd({"a": [RUNNING] * 20}), "a")
    assert caught.value.found == "a is Running"
