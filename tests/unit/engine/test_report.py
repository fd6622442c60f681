from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

from provision.events import Event
from provision.report import JsonReporter, PlainReporter

START = datetime(2026, 1, 1, tzinfo=UTC)


def waiting(text: str, second: int) -> Event:
    return Event("waiting", "kubernetes", text=text, time=START + timedelta(seconds=second))


def plain(*events: Event) -> list[str]:
    stream = io.StringIO()
    reporter = PlainReporter(stream)
    for event in events:
        reporter.take(event)
    return [line.partition(" ")[2] for line in stream.getvalue().splitlines()]


def test_waits_are_told_when_they_change_and_not_every_second() -> None:
    told = plain(
        waiting("API: refused", 0),
        waiting("API: no route", 1),
        waiting("API: refused", 20),
        waiting("API: no route", 31),
    )
    assert told == [
        "kubernetes: waiting for API: refused",
        "kubernetes: waiting for API: no route",
    ]


def test_only_what_changed_something_is_told_of_tasks() -> None:
    assert plain(
        Event("task", "machine", "n1", "Look", {"status": "ok"}),
        Event("task", "machine", "n1", "Keep the list", {"status": "changed", "changes": 2}),
        Event("phase-finished", "machine", text="done", data={"seconds": 1.5}),
        Event("phase-finished", "depot", text="skipped"),
        Event("phase-finished", "dns", text="failed", data={"error": "it broke\n  fix: mend it"}),
    ) == [
        "machine: n1: Keep the list (2 things)",
        "machine: done in 1.5 s",
        "dns: failed: it broke",
    ]


def test_json_lines_are_the_journals() -> None:
    stream = io.StringIO()
    event = waiting("API", 0)
    JsonReporter(stream).take(event)
    assert json.loads(stream.getvalue()) == event.as_dict()
