from __future__ import annotations

from threading import Event as Flag
from typing import TYPE_CHECKING

import pytest

from provision.engine import Engine, Interrupt, Outcome
from provision.errors import DeadlineError, PhaseFailedError
from provision.phase import Context, Decision, GateSpec, Phase, Unknown
from provision.plan import Plan, order
from tests.support.fakes import FakeSite, LabelPhase, make_site

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.effects import Effect
    from provision.events import Event
    from provision.facts import Facts

PHASES = order(
    [
        LabelPhase("machine"),
        LabelPhase("depot", "machine"),
        LabelPhase("endpoint", "machine"),
        LabelPhase("kubernetes", "depot", "endpoint", waves=True),
    ]
)


def run(
    fake: FakeSite,
    phases: tuple[Phase, ...] = PHASES,
    interrupt: Interrupt | None = None,
    hear: Callable[[Event], None] = lambda _: None,
) -> tuple[Outcome, list[Event]]:
    events: list[Event] = []

    def emit(event: Event) -> None:
        events.append(event)
        hear(event)

    facts = fake.observe(fake.context, phases, fake.site.hosts)
    plan = Plan.of(fake.context, phases, facts)
    engine = Engine(
        fake.context,
        phases,
        observer=fake,
        effects=fake,
        gates=fake,
        preparer=fake,
        inventory=fake,
        emit=emit,
        interrupt=interrupt or Interrupt(),
    )
    if plan.changes:
        return engine.up(plan, facts), events
    return engine.settle(plan, engine.unsettled()), events


def test_everything_becomes_true() -> None:
    fake = FakeSite(make_site())
    outcome, _ = run(fake)
    assert outcome.complete
    assert all(
        labels == {"machine", "depot", "endpoint", "kubernetes"} for labels in fake.labels.values()
    )


def test_a_second_run_plays_nothing_and_reads_nothing_more() -> None:
    fake = FakeSite(make_site())
    run(fake)
    fake.plays.clear()
    fake.readings.clear()
    outcome, _ = run(fake)
    assert outcome.word == "done"
    assert not outcome.changed
    assert fake.plays == []
    assert len(fake.readings) == 1


def test_only_the_machine_that_differs_is_played() -> None:
    fake = FakeSite(make_site())
    run(fake)
    fake.plays.clear()
    fake.labels["n2"].remove("depot")
    run(fake)
    assert fake.plays == [("depot", ("n2",))]


def test_a_phase_starts_after_those_it_names_and_beside_the_others() -> None:
    fake = FakeSite(make_site())
    run(fake)
    played = [phase for phase, _ in fake.plays]
    assert played[0] == "machine"
    assert set(played[1:3]) == {"depot", "endpoint"}
    assert played[3:] == ["kubernetes"] * 3


def test_waves_are_played_one_after_the_other() -> None:
    fake = FakeSite(make_site())
    run(fake)
    assert [hosts for phase, hosts in fake.plays if phase == "kubernetes"] == [
        ("n1",),
        ("n2",),
        ("n3",),
    ]


def test_nothing_is_waited_for_where_the_machine_failed_that_works_for_all() -> None:
    phases = order([LabelPhase("machine"), LabelPhase("web", "machine", gate="served", lead="n2")])
    fake = FakeSite(make_site(), failing={"web": "n2"}, gates_closed={"served"})
    outcome, _ = run(fake, phases)
    assert isinstance(outcome.error, PhaseFailedError)
    assert (outcome.error.where, outcome.error.found) == ("n2", "it broke")

    outcome, _ = run(FakeSite(make_site(), failing={"web": "n3"}), phases)
    assert outcome.error is None
    assert outcome.failed == {"n3": "web: it broke"}


def test_one_failing_machine_does_not_stop_the_others() -> None:
    fake = FakeSite(make_site(), failing={"depot": "n3"})
    outcome, events = run(fake)
    assert outcome.failed == {"n3": "depot: it broke"}
    assert outcome.word == "failed"
    assert "kubernetes" in fake.labels["n1"] & fake.labels["n2"]
    assert "kubernetes" not in fake.labels["n3"]
    assert [event.host for event in events if event.kind == "host-failed"] == ["n3"]


def test_what_a_killed_run_did_not_wait_for_is_waited_for_by_the_next() -> None:
    phases = order([LabelPhase("machine", gate="machines rested")])
    fake = FakeSite(make_site())
    run(fake, phases)
    fake.gates_closed = {"machines rested"}
    outcome, _ = run(fake, phases)
    assert isinstance(outcome.error, DeadlineError)
    assert not outcome.complete


class SilentPhase(LabelPhase):
    """Cannot be judged in the run until something that answers now and then is waited for."""

    def __init__(self, name: str, *after: str) -> None:
        super().__init__(name, *after)
        self.answers = iter([False, False, False, True, True])

    def decide(self, context: Context, facts: Facts) -> Decision:
        if next(self.answers):
            return super().decide(context, facts)
        return Unknown("machine", "timed out", GateSpec("the API answers", 60))


def test_what_does_not_answer_for_a_moment_is_waited_for() -> None:
    fake = FakeSite(make_site())
    outcome, _ = run(fake, order([LabelPhase("machine"), SilentPhase("objects", "machine")]))
    assert outcome.complete
    assert all("objects" in labels for labels in fake.labels.values())


def test_what_never_answers_ends_the_run_with_the_last_thing_seen() -> None:
    fake = FakeSite(make_site(), gates_closed={"the API answers"})
    outcome, _ = run(fake, order([LabelPhase("machine"), SilentPhase("objects", "machine")]))
    assert isinstance(outcome.error, DeadlineError)
    assert outcome.error.found == "still closed"


def test_a_missing_machine_does_not_keep_gates_closed_where_nothing_is_to_be_done() -> None:
    phases = order([LabelPhase("machine", gate="machines rested")])
    fake = FakeSite(make_site())
    run(fake, phases)
    fake.unreachable, fake.gates_closed = {"n3"}, {"machines rested"}
    outcome, _ = run(fake, phases)
    assert outcome.error is None
    assert outcome.failed == {"n3": "connection refused"}


def test_a_phase_that_failed_wherever_it_worked_ends_the_run() -> None:
    fake = FakeSite(make_site())
    run(fake)
    fake.labels["n2"].clear()
    fake.failing = {"machine": "n2"}
    outcome, _ = run(fake)
    assert outcome.error is not None
    assert outcome.error.what == "machine failed on every machine that it had to work on"
    assert (outcome.error.where, outcome.error.found) == ("n2", "it broke")
    assert fake.labels["n2"] == set()


def test_an_unreachable_machine_is_left_behind_and_named() -> None:
    fake = FakeSite(make_site(), unreachable={"n2"})
    outcome, _ = run(fake)
    assert outcome.failed == {"n2": "connection refused"}
    assert "kubernetes" in fake.labels["n1"] & fake.labels["n3"]


def test_without_quorum_nothing_is_touched() -> None:
    fake = FakeSite(make_site(), unreachable={"n1", "n2"})
    outcome, _ = run(fake)
    assert "etcd needs 2" in outcome.stopped
    assert fake.plays == []


def test_losing_quorum_midway_stops_the_run() -> None:
    fake = FakeSite(make_site(control_plane=1), failing={"depot": "n1"})
    outcome, _ = run(fake)
    assert isinstance(outcome.error, PhaseFailedError)
    assert outcome.error.where == "n1"
    assert "kubernetes" not in fake.labels["n1"]


def test_a_phase_that_went_well_does_not_answer_for_another() -> None:
    """The other one lost the quorum while this one was at work."""
    over = Flag()

    def hear(event: Event) -> None:
        if (event.kind, event.phase, event.text) == ("phase-finished", "one", "failed"):
            over.set()

    def during(effect: Effect) -> None:
        if effect.phase == "two":
            assert over.wait(10)

    fake = FakeSite(make_site(control_plane=1), failing={"one": "n1"}, during=during)
    phases = order([LabelPhase("one"), LabelPhase("two")])
    outcome, _ = run(fake, phases, hear=hear)
    assert isinstance(outcome.error, PhaseFailedError)
    assert "it broke" in outcome.error.found


def test_an_effect_without_effect_is_a_failure() -> None:
    fake = FakeSite(make_site(), stubborn={"depot"})
    outcome, _ = run(fake)
    assert outcome.error is not None
    assert outcome.error.what == "depot ran, and still not everything is as the site says"
    assert all("kubernetes" not in labels for labels in fake.labels.values())


def test_a_gate_that_stays_closed_ends_the_run_with_what_was_seen_last() -> None:
    phases = order([LabelPhase("machine", gate="machines rested"), LabelPhase("depot", "machine")])
    fake = FakeSite(make_site(), gates_closed={"machines rested"})
    outcome, _ = run(fake, phases)
    assert isinstance(outcome.error, DeadlineError)
    assert outcome.error.found == "still closed"
    assert all("depot" not in labels for labels in fake.labels.values())


@pytest.mark.parametrize("presses", [1, 2])
def test_an_interrupted_run_stops_and_the_next_one_completes(presses: int) -> None:
    fake = FakeSite(make_site())
    interrupt = Interrupt()

    def press(effect: Effect) -> None:
        if effect.phase == "machine":
            for _ in range(presses):
                interrupt.press()

    fake.during = press
    outcome, _ = run(fake, interrupt=interrupt)
    assert not outcome.complete
    finished_step = {"machine"} if presses == 1 else set()
    assert all(labels == finished_step for labels in fake.labels.values())

    fake.during = lambda _: None
    outcome, _ = run(fake)
    assert outcome.complete
