"""The only loop: observe, decide, act, wait, and say so.

Phases that do not depend on each other run at the same time. Facts hold as
long as nothing that a phase comes after has changed anything; then they are
read anew. After its effect a phase is judged again: an effect that did not
make it true is a failure, said with what still differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any, Protocol

from provision.effects import Effect, EffectResult, EffectRunner
from provision.errors import FindingsError, OperatorError, PhaseFailedError
from provision.events import Emit, Event
from provision.facts import Facts
from provision.phase import Blocked, Context, Decision, GateSpec, Phase, Run, Skip, Unknown
from provision.plan import Plan, decision_as_dict


class Observer(Protocol):
    """Reads what phases ask for."""

    def observe(self, context: Context, phases: Sequence[Phase], hosts: Iterable[str]) -> Facts:
        """Read what ``phases`` ask for on ``hosts`` and in the cluster."""


class GateKeeper(Protocol):
    """Waits for conditions."""

    def holds(self, gate: GateSpec) -> bool:
        """Whether ``gate`` holds now."""

    def wait(
        self, gate: GateSpec, report: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> None:
        """Return once ``gate`` holds.

        Raises
        ------
        DeadlineError
            It did not hold in time; the error says the last thing seen.
        """


class Preparer(Protocol):
    """Makes what a phase needs on the controller before its effect: its secrets."""

    def prepare(self, phase: Phase) -> Context:
        """Make what is missing; the context with the new digests."""


class InventorySource(Protocol):
    """Makes Ansible's inventory."""

    def inventory(self, context: Context, hosts: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Variables by machine for ``hosts``."""


STOPPED = "stopped by the operator"
"""Why a run ended that its operator interrupted."""


@dataclass
class Interrupt:
    """The operator's wish to stop: after the current step, or at once.

    Signal handlers press it in the middle of anything, so nothing here takes a lock.
    """

    presses: int = 0
    heeded: bool = False
    """Whether what runs looks at ``at_once``; what does not has to be broken off."""

    @contextmanager
    def heeding(self) -> Iterator[None]:
        """For the time of the block, what runs looks at ``at_once``."""
        self.heeded = True
        try:
            yield
        finally:
            self.heeded = False

    def press(self) -> None:
        """Ctrl-C: the first one stops after the current step, the second at once."""
        self.presses += 1

    def after_step(self) -> bool:
        """Whether to stop, at the latest after the current step."""
        return self.presses > 0

    def at_once(self) -> bool:
        """Whether to break off the current step too."""
        return self.presses > 1


@dataclass(frozen=True)
class Outcome:
    """How a run went."""

    decisions: Mapping[str, Decision]
    failed: Mapping[str, str]
    """Why, by machine that was left behind."""
    stopped: str = ""
    """Why the run ended early, if it did."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Duration by phase that ran."""
    error: OperatorError | None = None
    removed: Sequence[str] = ()
    """Components that were taken off."""

    @property
    def changed(self) -> bool:
        """Whether any phase ran, or anything was taken off."""
        ran = any(isinstance(decision, Run) for decision in self.decisions.values())
        return ran or bool(self.removed)

    @property
    def complete(self) -> bool:
        """Whether everything that the site asks for is now so."""
        return not (self.failed or self.stopped or self.error)

    @property
    def word(self) -> str:
        """The outcome in one word: ``done``, ``interrupted`` or ``failed``."""
        if self.complete:
            return "done"
        return "interrupted" if self.stopped == STOPPED else "failed"


class Engine:
    """Runs phases against a site.

    Parameters
    ----------
    context
        The site, its bundle and its secrets' digests.
    phases
        What to run, in order.
    guard
        Called before every effect; raises where the site is not ours any more.
    """

    def __init__(
        self,
        context: Context,
        phases: Sequence[Phase],
        *,
        observer: Observer,
        effects: EffectRunner,
        gates: GateKeeper,
        preparer: Preparer,
        inventory: InventorySource,
        emit: Emit,
        interrupt: Interrupt,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        self.context = context
        self.phases = phases
        self.observer = observer
        self.effects = effects
        self.gates = gates
        self.preparer = preparer
        self.inventory = inventory
        self.emit = emit
        self.interrupt = interrupt
        self.guard = guard
        self._lock = Lock()
        self._failed: dict[str, str] = {}
        self._decisions: dict[str, Decision] = {}
        self._seconds: dict[str, float] = {}

    def up(self, plan: Plan, facts: Facts) -> Outcome:
        """Make the site true, starting from a plan and the facts it was made from."""
        self._failed = dict(plan.unreachable)
        self._decisions = {}
        stopped, error = "", None
        lost = self._quorum_lost()
        if lost:
            return Outcome(plan.decisions, self._failed, stopped=lost)
        names = {phase.name for phase in self.phases}
        waiting = list(self.phases)
        running: dict[Future[bool], Phase] = {}
        done: dict[str, bool] = {}
        with (
            self.interrupt.heeding(),
            ThreadPoolExecutor(max_workers=max(len(names), 1)) as pool,
        ):
            while waiting or running:
                if not stopped and error is None:
                    for phase in [item for item in waiting if set(item.after) & names <= set(done)]:
                        waiting.remove(phase)
                        fresh = not any(done.get(name) for name in self._ancestors(phase))
                        running[pool.submit(self._run_phase, phase, facts if fresh else None)] = (
                            phase
                        )
                if not running:
                    break
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    phase = running.pop(future)
                    try:
                        done[phase.name] = future.result()
                    except OperatorError as raised:
                        error = error or raised
                        told = {"error": str(raised)}
                        self.emit(Event("phase-finished", phase.name, text="failed", data=told))
                if self.interrupt.after_step():
                    stopped = stopped or STOPPED
                stopped = stopped or self._quorum_lost()
        return Outcome(dict(self._decisions), dict(self._failed), stopped, self._seconds, error)

    def _ancestors(self, phase: Phase) -> set[str]:
        by_name = {item.name: item for item in self.phases}
        found: set[str] = set()
        todo = list(phase.after)
        while todo:
            name = todo.pop()
            if name not in found and name in by_name:
                found.add(name)
                todo.extend(by_name[name].after)
        return found

    def _quorum_lost(self) -> str:
        """Why the cluster cannot stand on the machines that are left, or nothing."""
        members = self.context.site.control_plane
        left = [name for name in members if name not in self._failed]
        needed = len(members) // 2 + 1
        if len(left) >= needed:
            return ""
        return (
            f"only {len(left)} of {len(members)} control-plane machines are left,"
            f" and etcd needs {needed}"
        )

    def _hosts(self) -> list[str]:
        with self._lock:
            return [name for name in self.context.site.hosts if name not in self._failed]

    def _run_phase(self, phase: Phase, facts: Facts | None) -> bool:
        """Bring one phase about; True when it had something to do."""
        if facts is None:
            facts = self.observer.observe(self.context, [phase], self._hosts())
        decision = self._judged(phase, facts)
        self._decisions[phase.name] = decision
        match decision:
            case Skip():
                if not self._tell(phase, decision):
                    self._settle(phase)
                self.emit(
                    Event("phase-finished", phase.name, text="skipped", data={"changed": False})
                )
                return False
            case Blocked():
                raise _blocked(phase, decision)
            case Unknown():
                raise PhaseFailedError(
                    f"{phase.name} cannot be judged yet: it needs {decision.until}",
                    found=decision.found,
                    fix="provision check",
                )
        started = monotonic()
        self.emit(Event("phase-started", phase.name, data=decision_as_dict(decision)))
        context = self._prepare(phase)
        for wave in decision.waves or [decision.hosts]:
            self._act(phase, context, decision, [name for name in wave if name in self._hosts()])
        worked_on = [name for name in decision.hosts if name in self._hosts()]
        if not worked_on:
            name = decision.hosts[0]
            raise PhaseFailedError(
                f"{phase.name} failed on every machine that it had to work on",
                where=name,
                found=self._failed[name].removeprefix(f"{phase.name}: "),
                fix="put that right, then: provision up",
            )
        for gate in phase.gates(context, worked_on):
            self._wait(phase, gate)
        self._confirm(phase, context)
        self._seconds[phase.name] = seconds = round(monotonic() - started, 1)
        self.emit(
            Event(
                "phase-finished",
                phase.name,
                text="done",
                data={"changed": True, "seconds": seconds, "hosts": worked_on},
            )
        )
        return True

    def _judged(self, phase: Phase, facts: Facts) -> Decision:
        """What is to be done; what does not answer for a moment is waited for, and asked again."""
        began = monotonic()
        while True:
            decision = phase.decide(self.context, facts.only(self._hosts()))
            gate = decision.gate if isinstance(decision, Unknown) else None
            if gate is None or monotonic() - began > gate.seconds:
                return decision
            self._wait(phase, gate)
            facts = self.observer.observe(self.context, [phase], self._hosts())

    def _prepare(self, phase: Phase) -> Context:
        with self._lock:
            self.context = self.preparer.prepare(phase)
            return self.context

    def _act(self, phase: Phase, context: Context, decision: Run, hosts: list[str]) -> None:
        if not hosts or self.interrupt.at_once():
            return
        self.guard()
        inventory = self.inventory.inventory(context, hosts)
        for name in hosts:
            inventory[name].update(decision.variables.get(name, {}))
        effect = Effect(phase.name, f"{phase.name}.yml", inventory)
        result = self.effects.run(effect, self.emit, self.interrupt.at_once)
        self._judge(phase, result, decision.lead)

    def _judge(self, phase: Phase, result: EffectResult, lead: str) -> None:
        if result.cancelled:
            raise _stopped(phase)
        with self._lock:
            for name, why in result.failed.items():
                self._failed.setdefault(name, f"{phase.name}: {why}")
        # Where another phase lost it, that one says so.
        lost = self._quorum_lost() if result.failed else ""
        if not lost and lead not in result.failed:
            return
        name = next(iter(result.failed)) if lost else lead
        raise PhaseFailedError(
            f"{phase.name} failed",
            where=name,
            found=result.failed[name],
            why=lost or "what is done once is done there, for all machines",
            fix="put that right, then: provision up",
        )

    def unsettled(self) -> list[tuple[Phase, GateSpec]]:
        """The gates of all phases that do not hold now; looks once at each."""
        gates = [
            (phase, gate)
            for phase in self.phases
            for gate in phase.gates(self.context, phase.hosts(self.context))
        ]
        with ThreadPoolExecutor(max_workers=max(len(gates), 1)) as pool:
            held = pool.map(self.gates.holds, [gate for _, gate in gates])
            return [item for item, holds in zip(gates, held, strict=True) if not holds]

    def settle(self, plan: Plan, unsettled: Sequence[tuple[Phase, GateSpec]]) -> Outcome:
        """Where nothing is to be done: wait for what an earlier run may not have waited for.

        A run that was killed after its last effect leaves nothing to do, and a cluster
        that is still coming up. ``unsettled`` is what :meth:`unsettled` found.
        """
        self._failed = dict(plan.unreachable)
        error = None
        told = [
            phase.name for phase in self.phases if self._tell(phase, plan.decisions[phase.name])
        ]
        # With a machine missing, much will not become ready, and need not.
        gates = [] if self._failed else [item for item in unsettled if item[0].name not in told]
        with (
            self.interrupt.heeding(),
            ThreadPoolExecutor(max_workers=max(len(gates), 1)) as pool,
        ):
            for waiting in [pool.submit(self._wait, *item) for item in gates]:
                try:
                    waiting.result()
                except OperatorError as raised:
                    error = error or raised
        return Outcome(plan.decisions, dict(self._failed), error=error)

    def _tell(self, phase: Phase, decision: Decision) -> bool:
        """Whether ``phase`` waits for a person, which is said then, and no gate waits for it."""
        if not isinstance(decision, Skip) or not decision.attention:
            return False
        self.emit(Event("notice", phase.name, text=f"{phase.name}: {decision.attention}"))
        return True

    def _settle(self, phase: Phase) -> None:
        if self._failed:
            return
        for gate in phase.gates(self.context, phase.hosts(self.context)):
            self._wait(phase, gate)

    def _wait(self, phase: Phase, gate: GateSpec) -> None:
        waited = False

        def report(detail: str) -> None:
            nonlocal waited
            waited = True
            self.emit(Event("waiting", phase.name, text=f"{gate.condition}: {detail}"))

        self.gates.wait(gate, report, self.interrupt.at_once)
        if self.interrupt.at_once():
            raise _stopped(phase)
        if waited:
            self.emit(Event("gate-passed", phase.name, text=gate.condition))

    def _confirm(self, phase: Phase, context: Context) -> None:
        """Judge again: what the effect was for must hold now."""
        hosts = self._hosts()
        decision = phase.decide(context, self.observer.observe(context, [phase], hosts))
        if isinstance(decision, Run):
            name, reasons = next(iter(decision.reasons.items()))
            raise PhaseFailedError(
                f"{phase.name} ran, and still not everything is as the site says",
                where=name,
                found="; ".join(reasons[:3]),
                why="its role does not change that, or something changes it back",
                fix="provision plan",
            )
        self._tell(phase, decision)


def _stopped(phase: Phase) -> OperatorError:
    return PhaseFailedError(f"{phase.name} was stopped at once by the operator", fix="provision up")


def _blocked(phase: Phase, decision: Blocked) -> OperatorError:
    return FindingsError(
        f"{phase.name} must not run: {decision.findings[0]}",
        found="; ".join(decision.findings[1:]),
        fix="provision plan",
    )
