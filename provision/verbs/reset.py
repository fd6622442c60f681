"""``reset``: the components taken off in reverse order, each by its own role."""

from __future__ import annotations

from collections.abc import Sequence

from provision import leftovers
from provision.app import Application
from provision.effects import Effect
from provision.engine import STOPPED, Interrupt
from provision.errors import PhaseFailedError
from provision.events import Emit, Event
from provision.facts import ClusterFacts, Facts
from provision.locallock import local_lock
from provision.phase import Phase
from provision.plan import discover
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
        for whole, phase in [*_left_over(app), *((app, phase) for phase in reversed(app.phases))]:
            if interrupt.after_step():
                raise PhaseFailedError(STOPPED, fix="provision reset")
            take_off(whole, phase, recording.emit, interrupt, everything=True)


def _left_over(app: Application) -> list[tuple[Application, Phase]]:
    """What the site file does not name any more, each with the site that still had it."""
    query = leftovers.query(app.site, discover())
    facts = Facts(
        app.machines.read(dict.fromkeys(app.site.hosts, query)), ClusterFacts(reachable=False)
    )
    found = leftovers.leftovers(app.site, discover(), facts)
    phases = {phase.name: phase for phase in discover()}
    return [(app.still_with(item), phases[item.name]) for item in found]


def take_off(
    app: Application,
    phase: Phase,
    emit: Emit,
    interrupt: Interrupt,
    again: str = "provision reset",
    *,
    everything: bool = False,
) -> None:
    """Play one role's ``tasks/remove.yml`` on all machines of its component.

    Parameters
    ----------
    again
        The command that goes on where this one fails.
    everything
        Whether the whole site goes, so that nothing need be taken out of what goes too.

    Raises
    ------
    PhaseFailedError
        It could not be taken off a machine; running again goes on from there.
    """
    context = app.context()
    hosts: Sequence[str] = phase.hosts(context)
    emit(Event("phase-started", phase.name, data={"hosts": list(hosts)}))
    effect = Effect(
        phase.name,
        "remove.yml",
        app.inventory(context, hosts),
        variables={"provision_role": phase.name, "provision_everything": everything},
    )
    with interrupt.heeding():
        result = app.ansible().run(effect, emit, interrupt.at_once)
    if result.failed or result.cancelled:
        name, why = next(iter(result.failed.items()), ("", "stopped at once by the operator"))
        raise PhaseFailedError(
            f"{phase.name} could not be taken off",
            where=name,
            found=why,
            fix=again,
        )
    kept = phase.taken_off(app.secrets)
    if kept:
        emit(Event("notice", phase.name, text=kept))
    emit(Event("phase-finished", phase.name, text="removed", data={"changed": True}))
