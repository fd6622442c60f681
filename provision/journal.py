"""The journal: evidence of each run, one JSON object a line, never read to decide anything."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

from provision.errors import UsageError
from provision.events import Event
from provision.privatefiles import make_folder, writing

KEPT_RUNS = 100
"""Older journals are removed when a new one starts."""
UNWRITTEN = "the journal cannot be written"


class Journal:
    """Appends a run's events to ``<folder>/<run id>.jsonl``, readable by its owner alone.

    Raises
    ------
    DiskFullError, SecretsError
        The file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder, UNWRITTEN)
        self.run, self._descriptor = self._make(folder)
        self.path = folder / f"{self.run}.jsonl"
        self._lock = Lock()
        for old in sorted(folder.glob("*.jsonl"))[:-KEPT_RUNS]:
            old.unlink(missing_ok=True)

    @staticmethod
    def _make(folder: Path) -> tuple[str, int]:
        """A run that no other has the name of, and its file."""
        now = datetime.now(UTC)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        while True:
            run = f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}-{os.getpid()}"
            path = folder / f"{run}.jsonl"
            with writing(path, UNWRITTEN):
                try:
                    return run, os.open(path, flags, 0o600)
                except FileExistsError:
                    # A watcher may end one run and begin the next within a millisecond.
                    now += timedelta(milliseconds=1)

    def write(self, event: Event) -> None:
        """Append ``event`` as a whole line or not at all, and hand it to the kernel at once.

        Raises
        ------
        DiskFullError
            The controller's disk takes no more.
        SecretsError
            It cannot be written for another reason.
        """
        line = (json.dumps(event.as_dict(), default=str) + "\n").encode()
        with self._lock, writing(self.path, UNWRITTEN):
            written = os.write(self._descriptor, line)
            if written < len(line):
                os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


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
    """Every whole line; a killed run leaves half of its last one, a broken disk worse."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                event = json.loads(line) if line.endswith("\n") else None
            except ValueError:
                continue
            if isinstance(event, dict) and {"time", "event"} <= event.keys():
                yield event


def _summary(path: Path) -> RunSummary:
    started, command, outcome, seconds = "", "", "interrupted", None
    for event in _events(path):
        if event["event"] == "run-started":
            started, command = event["time"], event.get("command", "")
        elif event["event"] == "run-finished":
            outcome, seconds = event.get("outcome", ""), event.get("seconds")
    return RunSummary(path.stem, started, command, outcome, seconds)
