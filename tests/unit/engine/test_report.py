from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
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


def test_a_wait_for_many_things_is_one_line_that_can_be_read() -> None:
    (told,) = plain(waiting("; ".join(["application web is Synced and Progressing"] * 20), 0))
    assert len(told) < 300
    assert told.endswith(" …")


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


TABLE = """\
import sys
from provision.events import Event
from provision.report import reporter

with reporter("auto", ["machine", "depot"]) as shown:
    shown.take(Event("run-started"))
    shown.take(Event("plan"))
    print("Trust it? ", end="", flush=True)
    sys.stdin.readline()
    shown.take(Event("phase-started", "machine", data={"hosts": ["n1"]}))
    shown.take(Event("task", "machine", "n1", "Keep [the] list", {"status": "started"}))
    shown.take(Event("notice", text="a notice"))
    shown.take(Event("host-failed", "machine", "n2", "no room [/var]"))
    shown.take(Event("waiting", "machine", text="pods: [/readyz] says [red]no"))
    shown.take(Event("notice", text=""))
"""


def test_the_table_appears_after_questions_and_shows_what_was_said_as_it_is() -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", TABLE],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
        text=True,
    ) as process:
        os.close(theirs)
        before = _until(ours, b"Trust it? ")
        os.write(ours, b"y\n")
        after = _until(ours, None)
        assert process.stderr is not None
        assert process.stderr.read() == ""
    os.close(ours)
    assert "reading the machines" in before
    assert "depot" not in before
    for text in ("a notice", "no room [/var]", "waiting for pods: [/readyz] says [red]no", "depot"):
        assert text in after


def _until(terminal: int, wanted: bytes | None) -> str:
    """What comes at a terminal up to ``wanted``, or up to its end."""
    seen = b""
    while wanted is None or wanted not in seen:
        try:
            seen += os.read(terminal, 4096)
        except OSError:
            # The other end was closed.
            break
    return seen.decode()
