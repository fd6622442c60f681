"""``reset``: the components taken off in reverse order, each by its own role."""

from __future__ import annotations

from collections.abc import Sequence

from provision.app import Application
from provision.effects import Effect
from provision.engine import Interrupt
from provision.errors import PhaseFailedError
from provision.events import Emit, Event
from provision.locallock import local_lock
from provision.phase import Phase
from provision.report import Reporter
from provision.verbs.record import holder, recorded


def take_down(app: Application, reporter: Reporter, interrupt: Interrupt) -> None:
    """Play every role's ``tasks/remove.yml``, the last phase first, on all machines.

    Raises
    ------
    PhaseFailedError
        A component could not be taken off a machine; what was removed stays
        removed, and running again goes on from there.
    LockedError
        Another run holds the site.
    """
    with (
        local_lock(app.state, str(holder())),
        recorded(app, reporter, "reset") as recording,
        app.machines.lock(holder(recording.run)),
    ):
        app.ansible().clear()
        for phase in reversed(app.phases):
            if interrupt.after_step.is_set():
                raise PhaseFailedError("stopped by the operator", fix="provision reset")
            _remove(app, phase, recording.emit, interrupt)


def _remove(app: Application, phase: Phase, emit: Emit, interrupt: Interrupt) -> None:
    context = app.context()
    hosts: Sequence[str] = phase.hosts(context)
    emit(Event("phase-started", phase.name, data={"hosts": list(hosts)}))
    effect = Effect(
        phase.name,
        "remove.yml",
        app.inventory(context, hosts),
        variables={"provision_role": phase.name},
    )
    result = app.ansible().run(effect, emit, interrupt.now.is_set)
    if result.failed or result.cancelled:
        name, why = next(iter(result.failed.items()), ("", "stopped at once by the operator"))
        raise PhaseFailedError(
            f"{phase.name} could not be taken off",
            where=name,
            found=why,
            fix="provision reset",
        )
    kept = phase.taken_off(app.secrets)
    if kept:
        emit(Event("notice", phase.name, text=kept))
    emit(Event("phase-finished", phase.name, text="removed", data={"changed": True}))
