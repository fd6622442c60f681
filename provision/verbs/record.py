"""Records a run: its events to the journal and the reporter, its end whatever happens."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from provision.app import Application
from provision.errors import OperatorError
from provision.events import Emit, Event
from provision.journal import Journal
from provision.observe import Holder
from provision.report import Reporter


@dataclass
class Recording:
    """A run that is being recorded: its id, where its events go, and how it ends."""

    run: str
    emit: Emit
    outcome: str = "done"
    """What the journal says of a run that ends without an error being raised."""


@contextmanager
def recorded(app: Application, reporter: Reporter, command: str) -> Iterator[Recording]:
    """A run's journal and reporter as one place to send events to.

    The journal ends with the outcome whatever happens in between.
    """
    journal = Journal(app.state / "runs")
    started = monotonic()

    def emit(event: Event) -> None:
        journal.write(event)
        reporter.take(event)

    outcome = "failed"
    try:
        emit(
            Event(
                "run-started",
                data={
                    "run": journal.run,
                    "command": command,
                    "site": app.site.name,
                    "site_digest": app.site.digest,
                },
            )
        )
        recording = Recording(journal.run, emit)
        yield recording
        outcome = recording.outcome
    except OperatorError as error:
        emit(Event("notice", text="", data={"error": error.what, "where": error.where}))
        raise
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    finally:
        with closing(journal):
            seconds = round(monotonic() - started, 1)
            emit(Event("run-finished", data={"outcome": outcome, "seconds": seconds}))


def holder(run: str = "") -> Holder:
    """Who runs this, for the refusal that another run gets."""
    return Holder(
        who=f"{getpass.getuser()}@{socket.gethostname()}",
        run=run,
        since=datetime.now(UTC),
        where=f"process {os.getpid()}",
    )
