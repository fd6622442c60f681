from __future__ import annotations

import pytest

from provision.errors import UsageError
from provision.phase import Blocked, Decision, Run, Skip, Unknown
from provision.plan import Plan, left_out, order, render, select
from tests.support.fakes import FakeSite, LabelPhase, make_site


def test_phases_stand_behind_those_they_name() -> None:
    phases = order([LabelPhase("c", "b"), LabelPhase("b", "a"), LabelPhase("a")])
    assert [phase.name for phase in phases] == ["a", "b", "c"]


def test_a_circle_is_named() -> None:
    with pytest.raises(ValueError, match="goes in a circle"):
        order([LabelPhase("a", "b"), LabelPhase("b", "a")])


def test_an_unknown_predecessor_is_named() -> None:
    with pytest.raises(ValueError, match="unknown phases"):
        order([LabelPhase("a", "nowhere")])


def test_selecting_an_unknown_phase_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="there is no phase x") as caught:
        select([LabelPhase("a"), LabelPhase("b")], ["x"])
    assert caught.value.wanted == "one of: a, b"


def test_what_is_left_out_and_stood_on_is_named_if_it_has_work() -> None:
    vault = LabelPhase("vault", "machine", "dns")
    work = Run({"n1": ["file /etc/a is missing, wanted present"]})
    decisions: dict[str, Decision] = {
        "machine": work,
        "dns": Skip("as wanted"),
        "cilium": work,
        "vault": work,
    }
    assert left_out(Plan(decisions, {}), [vault]) == ["machine"]
    assert left_out(Plan(decisions, {}), [vault, LabelPhase("machine")]) == []


def test_nothing_is_told_of_machines_none_of_which_answers() -> None:
    fake = FakeSite(make_site(), unreachable={"n1", "n2", "n3"})
    phases = (LabelPhase("machine"),)
    plan = Plan.of(fake.context, phases, fake.observe(fake.context, phases, ["n1", "n2", "n3"]))
    assert not plan.changes
    assert next(render(plan)) == "machine  not known: none of its machines answers"


def test_what_machines_have_in_common_is_said_once() -> None:
    both, more = ["package knot is not installed", "no zone"], ["file /etc/key is missing"]
    plan = Plan({"dns": Run({"n1": [*both, "no key"], "n2": [*more, *both], "n3": more})}, {})
    assert "\n".join(render(plan)) == (
        "dns  run on n1, n2, n3\n"
        "       n1, n2:\n"
        "         package knot is not installed\n"
        "         no zone\n"
        "       n2, n3:\n"
        "         file /etc/key is missing\n"
        "       n1:\n"
        "         no key"
    )


def test_every_kind_of_decision_is_shown_with_its_reason() -> None:
    why = ["file /etc/a is missing, wanted present"]
    plan = Plan(
        {
            "machine": Run({"n1": why, "n2": why}),
            "depot": Skip("every machine is as the site says"),
            "kubernetes": Blocked(["1.36 runs, 1.37 is wanted"]),
            "cilium": Unknown("kubernetes"),
        },
        {"n3": "connection refused"},
    )
    assert "\n".join(render(plan)) == (
        "machine     run on n1, n2\n"
        "              n1, n2:\n"
        "                file /etc/a is missing, wanted present\n"
        "depot       nothing to do: every machine is as the site says\n"
        "kubernetes  blocked\n"
        "              1.36 runs, 1.37 is wanted\n"
        "cilium      not known yet: it needs kubernetes\n"
        "n3 does not answer: connection refused\n"
        "what to do about machines that do not answer: provision check"
    )
    assert plan.changes
    assert plan.findings == ("kubernetes: 1.36 runs, 1.37 is wanted",)
