"""``approve``: allows the plan that the watcher waits with."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from provision.app import Application
from provision.events import Event
from provision.report import Unshown
from provision.verbs.record import holder, recorded
from provision.verbs.watch import FOLDER
from provision.watch import pending
from provision.watch.pending import Approval, Pending
from provision.watch.store import Store


def waiting(app: Application, name: str) -> Pending:
    """What waits under the id ``name``; see :func:`provision.watch.pending.waiting`."""
    return pending.waiting(Store(app.state / FOLDER), name)


def approve(app: Application, name: str) -> Approval:
    """Allow the watcher to apply what waits under the id ``name``, as long as it is the same.

    Raises
    ------
    UsageError
        Nothing waits under it, or what did is outdated.
    FindingsError
        Something of it is blocked.
    """
    store = Store(app.state / FOLDER)
    found = pending.waiting(store, name)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    given = Approval(found.id, found.commit, _who(), now)
    with recorded(app, Unshown(), "approve") as recording:
        data = {"watch": "approved", "id": given.id, "commit": given.commit, "by": given.by}
        recording.emit(Event("notice", text=f"approved {given.id}", data=data))
        pending.approve(store, given)
    return given


def _who() -> str:
    """Who runs this, and on whose behalf where sudo says so."""
    behind = os.environ.get("SUDO_USER")
    here = holder().who
    return f"{behind} by sudo as {here}" if behind else here
