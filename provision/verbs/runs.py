"""``runs``: past runs as their journals tell them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from provision.app import Application
from provision.errors import UsageError
from provision.journal import past_runs, read_run


def list_runs(app: Application) -> tuple[Any, Iterable[str]]:
    """All past runs as data and as lines."""
    found = past_runs(app.state / "runs")
    width = max((len(run.run) for run in found), default=0)
    lines = [
        f"{run.run:{width}}  {run.command:8}  {run.outcome:12}"
        + ("" if run.seconds is None else f"{run.seconds:8.1f} s")
        for run in found
    ]
    return [run.as_dict() for run in found], lines or ["no runs yet"]


def show_run(app: Application, run: str) -> tuple[Any, Iterable[str]]:
    """The events of one run, the newest without an id, as data and as lines."""
    folder = app.state / "runs"
    if not run:
        newest = past_runs(folder)
        if not newest:
            raise UsageError("there are no runs yet", fix="provision up")
        run = newest[0].run
    events = list(read_run(folder, run))
    return events, [_line(event) for event in events]


def _line(event: dict[str, Any]) -> str:
    known = ("time", "event", "phase", "host", "text")
    rest = {name: value for name, value in event.items() if name not in known}
    words = [event["time"][11:23], event["event"], *(event.get(name, "") for name in known[2:])]
    tail = " ".join(f"{name}={value}" for name, value in rest.items())
    return "  ".join(word for word in [*words, tail] if word)
