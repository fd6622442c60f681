"""Shows a run: a live table on a terminal, plain lines elsewhere, JSON lines on request."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from textwrap import shorten
from threading import Lock
from time import monotonic
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from provision.events import Event

QUIET_SECONDS = 10.0
"""Plain lines tell of a wait at most this often; a refused connection alternates its reasons."""

WAIT_LENGTH = 240
"""Characters of what a run waits for; where it waits in vain, the error says all of it."""


class Reporter(Protocol):
    """Takes a run's events and shows them."""

    def take(self, event: Event) -> None:
        """Show ``event``."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class _Stream:
    """A reporter that needs no opening or closing."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.started = monotonic()
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stream.flush()

    def line(self, text: str) -> None:
        """Write one line at once."""
        with self._lock:
            self.stream.write(text + "\n")
            self.stream.flush()


class JsonReporter(_Stream):
    """One JSON object a line, the same as in the journal."""

    def take(self, event: Event) -> None:
        """Write ``event``."""
        self.line(json.dumps(event.as_dict(), default=str))


class PlainReporter(_Stream):
    """Plain lines: what changed, what is waited for, what failed."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waits: dict[str, tuple[str, float]] = {}

    def take(self, event: Event) -> None:
        """Write ``event`` if it is news."""
        text = self._text(event)
        if text:
            self.line(f"{_clock(monotonic() - self.started)} {text}")

    def _is_news(self, event: Event) -> bool:
        """Whether what is waited for looks otherwise than when it was last told, a while ago."""
        text, told = self._waits.get(event.phase, ("", 0.0))
        moment = event.time.timestamp()
        if text == event.text or moment - told < QUIET_SECONDS:
            return False
        self._waits[event.phase] = (event.text, moment)
        return True

    def _text(self, event: Event) -> str:
        match event.kind:
            case "phase-started":
                return f"{event.phase}: started on {', '.join(event.data['hosts'])}"
            case "task" if event.data.get("status") == "changed":
                count = event.data.get("changes")
                things = f" ({count} {'thing' if count == 1 else 'things'})" if count else ""
                return f"{event.phase}: {event.host}: {event.text}{things}"
            case "waiting" if self._is_news(event):
                return f"{event.phase}: {_waiting(event.text)}"
            case "gate-passed":
                return f"{event.phase}: {event.text}: yes"
            case "host-failed":
                return f"{event.phase}: {event.host}: FAILED: {event.text}"
            case "phase-finished" if "error" in event.data:
                return f"{event.phase}: {event.text}: {event.data['error'].splitlines()[0]}"
            case "phase-finished" if event.text != "skipped":
                took = f" in {event.data['seconds']} s" if "seconds" in event.data else ""
                return f"{event.phase}: {event.text}{took}"
            case "notice":
                return event.text
        return ""


class Unshown:
    """Shows nothing: for what only the journal is to know."""

    def take(self, event: Event) -> None:
        """Leave it to the journal."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


@dataclass
class _Row:
    state: str = "waiting"
    started: float | None = None
    seconds: float | None = None
    doing: dict[str, str] = field(default_factory=dict)
    waiting: str = ""


class LiveReporter:
    """A table that is redrawn in place: a phase a row, with what it does now on each machine.

    It appears once the machines were read, since until then the operator may be asked
    whether a host key is the right one.
    """

    def __init__(self, phases: list[str]) -> None:
        from rich.console import Console
        from rich.live import Live

        self.rows = {name: _Row() for name in phases}
        self.console = Console()
        self._live = Live(
            console=self.console, get_renderable=self._table, refresh_per_second=4, transient=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def take(self, event: Event) -> None:
        """Fold ``event`` into the table."""
        if event.kind == "run-started":
            self._say("reading the machines")
        elif event.kind == "notice" and event.text:
            self._say(event.text)
        elif event.phase:
            self._live.start()
        row = self.rows.get(event.phase)
        if row is None:
            return
        match event.kind:
            case "phase-started":
                row.state, row.started = "running", monotonic()
            case "task":
                row.doing[event.host] = event.text
            case "waiting":
                row.doing.clear()
                row.waiting = event.text
            case "host-failed":
                self._say(f"{event.phase}: {event.host}: {event.text}", style="red")
            case "phase-finished":
                row.state = event.text or "done"
                row.seconds = event.data.get("seconds")
                row.doing.clear()
                row.waiting = ""

    def _say(self, text: str, style: str | None = None) -> None:
        self.console.print(text, style=style, markup=False, highlight=False)

    def _table(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for name, row in self.rows.items():
            elapsed = row.seconds
            if elapsed is None and row.started is not None:
                elapsed = monotonic() - row.started
            doing = "; ".join(f"{host}: {task}" for host, task in row.doing.items())
            cells = (
                name,
                row.state,
                "" if elapsed is None else _clock(elapsed),
                _waiting(row.waiting) if row.waiting else doing,
            )
            # What machines and the API say may look like rich's own markup.
            table.add_row(*map(Text, cells))
        return table


def reporter(kind: str, phases: list[str], stream: TextIO = sys.stdout) -> Reporter:
    """The reporter for ``kind``: ``json``, ``plain``, or ``auto`` (live on a terminal)."""
    makers: dict[str, Callable[[], Reporter]] = {
        "json": lambda: JsonReporter(stream),
        "plain": lambda: PlainReporter(stream),
    }
    if kind == "auto":
        return LiveReporter(phases) if stream.isatty() else PlainReporter(stream)
    return makers[kind]()


def _waiting(text: str) -> str:
    return f"waiting for {shorten(text, WAIT_LENGTH, placeholder=' …')}"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
