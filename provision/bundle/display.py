"""Shows a build's progress: a live table on a terminal, plain lines elsewhere, JSON on request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import TextIO

from provision.bundle.progress import Outcome, Progress, Step

_DETAIL_SECONDS = 30.0
"""A plain line about a step that goes on is written this often at most."""


class _Plan:
    """What is planned, what runs, and what has ended; safe to use from several threads."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.steps: dict[str, Step] = {}
        self.running: dict[str, float] = {}
        self.details: dict[str, str] = {}
        self.ended: dict[str, Outcome] = {}

    def take(self, steps: tuple[Step, ...]) -> None:
        """Set the plan."""
        with self.lock:
            self.steps = {step.name: step for step in steps}

    @property
    def remaining(self) -> list[Step]:
        """Steps that have not ended."""
        return [step for step in self.steps.values() if step.name not in self.ended]

    def tally(self) -> str:
        """``3 of 12``, and roughly how long the rest takes one after the other."""
        minutes = sum(step.minutes for step in self.remaining)
        text = f"{len(self.ended)} of {len(self.steps)} done"
        return f"{text}, about {minutes:.0f} min of work left" if minutes >= 1 else text


class PlainProgress:
    """One line for each thing that begins or ends, and now and then one for what goes on."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._plan = _Plan()
        self._begin = clock()
        self._shown: dict[str, float] = {}

    def planned(self, steps: tuple[Step, ...]) -> None:
        """Write how much there is to do."""
        self._plan.take(steps)
        self._line(f"{len(steps)} steps: {', '.join(step.name for step in steps)}")

    def started(self, name: str) -> None:
        """Write that a step began."""
        step = self._plan.steps.get(name)
        about = f" (about {step.minutes:.0f} min)" if step and step.minutes >= 1 else ""
        self._shown[name] = self._clock()
        self._line(f"{name}: started{about}")

    def detail(self, name: str, text: str) -> None:
        """Write how far a step is, when the last such line is long ago."""
        now = self._clock()
        if now - self._shown.get(name, self._begin) >= _DETAIL_SECONDS:
            self._shown[name] = now
            self._line(f"{name}: {text}")

    def finished(self, name: str, outcome: Outcome, seconds: float) -> None:
        """Write that a step ended, and what remains."""
        self._plan.ended[name] = outcome
        took = f" in {seconds:.0f} s" if seconds >= 1 else ""
        self._line(f"{name}: {outcome}{took}; {self._plan.tally()}")

    def _line(self, text: str) -> None:
        elapsed = int(self._clock() - self._begin)
        with self._plan.lock:
            self._stream.write(f"{elapsed // 60:3}:{elapsed % 60:02} {text}\n")
            self._stream.flush()


class JsonProgress:
    """One JSON object a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = Lock()

    def planned(self, steps: tuple[Step, ...]) -> None:
        """Write the plan."""
        self._write(event="planned", steps=[step.name for step in steps])

    def started(self, name: str) -> None:
        """Write that a step began."""
        self._write(event="started", step=name)

    def detail(self, name: str, text: str) -> None:
        """Write how far a step is."""
        self._write(event="detail", step=name, text=text)

    def finished(self, name: str, outcome: Outcome, seconds: float) -> None:
        """Write that a step ended."""
        self._write(event="finished", step=name, outcome=outcome, seconds=seconds)

    def _write(self, **fields: object) -> None:
        with self._lock:
            self._stream.write(json.dumps(fields) + "\n")
            self._stream.flush()


class LiveProgress:
    """A table that is redrawn in place: what runs, how far it is, and what remains."""

    def __init__(self) -> None:
        self._plan = _Plan()
        self._begin = monotonic()

    def planned(self, steps: tuple[Step, ...]) -> None:
        """Take the plan."""
        self._plan.take(steps)

    def started(self, name: str) -> None:
        """Show a step as running."""
        with self._plan.lock:
            self._plan.running[name] = monotonic()

    def detail(self, name: str, text: str) -> None:
        """Show how far a step is."""
        with self._plan.lock:
            self._plan.details[name] = text

    def finished(self, name: str, outcome: Outcome, seconds: float) -> None:
        """Show a step as ended."""
        with self._plan.lock:
            self._plan.running.pop(name, None)
            self._plan.ended[name] = outcome
            self._plan.details[name] = f"{seconds:.0f} s" if seconds >= 1 else ""

    def __rich__(self) -> object:
        from rich.table import Table

        elapsed = int(monotonic() - self._begin)
        table = Table(
            title=f"{self._plan.tally()}, {elapsed // 60}:{elapsed % 60:02} so far",
            title_justify="left",
            box=None,
        )
        table.add_column("step")
        table.add_column("state")
        table.add_column("")
        with self._plan.lock:
            for name in self._plan.steps:
                table.add_row(name, *self._state(name))
        return table

    def _state(self, name: str) -> tuple[str, str]:
        detail = self._plan.details.get(name, "")
        if name in self._plan.ended:
            outcome = self._plan.ended[name]
            return (f"[red]{outcome}[/]" if outcome == "failed" else f"[green]{outcome}[/]", detail)
        if name in self._plan.running:
            since = int(monotonic() - self._plan.running[name])
            return ("[cyan]building[/]", f"{since // 60}:{since % 60:02} {detail}")
        return ("[dim]waiting[/]", detail)


@contextmanager
def shown(stream: TextIO, *, as_json: bool = False) -> Iterator[Progress]:
    """A progress that fits ``stream``; a live table ends with the block."""
    if as_json:
        yield JsonProgress(stream)
    elif stream.isatty():
        from rich.console import Console
        from rich.live import Live

        live = LiveProgress()
        with Live(live, console=Console(file=stream), refresh_per_second=4):  # type: ignore[arg-type]
            yield live
    else:
        yield PlainProgress(stream)
