"""The journal: evidence of each run, one JSON object a line, never read to decide anything."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from provision.errors import DiskFullError, UsageError
from provision.events import Event

KEPT_RUNS = 100
"""Older journals are removed when a new one starts."""


class Journal:
    """Appends a run's events to ``<folder>/<run id>.jsonl``, readable by its owner alone."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        now = datetime.now(UTC)
        self.run = f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}-{os.getpid()}"
        self.path = folder / f"{self.run}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._file = os.fdopen(os.open(self.path, flags, 0o600), "w", encoding="utf-8")
        self._lock = Lock()
        for old in sorted(folder.glob("*.jsonl"))[:-KEPT_RUNS]:
            old.unlink(missing_ok=True)

    def write(self, event: Event) -> None:
        """Append ``event`` and hand it to the kernel at once.

        Raises
        ------
        DiskFullError
            The controller's disk takes no more.
        """
        line = json.dumps(event.as_dict(), default=str) + "\n"
        with self._lock:
            try:
                self._file.write(line)
                self._file.flush()
            except OSError as error:
                raise DiskFullError(
                    "the journal cannot be written",
                    where=str(self.path),
                    found=error.strerror or str(error),
                    fix="free some space, then: provision up",
                ) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass(frozen=True)
class RunSummary:
    """One past run: its id, when it started, how it ended."""

    run: str
    started: str
    command: str
    outcome: str
    seconds: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return vars(self) | {}


def past_runs(folder: Path) -> list[RunSummary]:
    """The runs whose journals lie in ``folder``, the newest first."""
    return [_summary(path) for path in sorted(folder.glob("*.jsonl"), reverse=True)]


def read_run(folder: Path, run: str) -> Iterator[dict[str, Any]]:
    """The events of one run; ``run`` may be shortened as long as one run fits.

    Raises
    ------
    UsageError
        No run, or more than one, has that id.
    """
    found = [path for path in sorted(folder.glob("*.jsonl")) if path.stem.startswith(run)]
    if len(found) != 1:
        raise UsageError(
            f"{'no run has' if not found else 'several runs have'} the id {run}",
            found=", ".join(path.stem for path in found[:5]),
            fix="list the runs with: provision runs",
        )
    return _events(found[0])


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole line; a run that was killed may have left half of its last one."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def _summary(path: Path) -> RunSummary:
    started, command, outcome, seconds = "", "", "interrupted", None
    for event in _events(path):
        if event["event"] == "run-started":
            started, command = event["time"], event.get("command", "")
        elif event["event"] == "run-finished":
            outcome, seconds = event.get("outcome", ""), event.get("seconds")
    return RunSummary(path.stem, started, command, outcome, seconds)
