"""``plan`` and ``up``: the same decisions, shown or carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace

from provision import leftovers
from provision.app import SITE_MARKER, Application
from provision.checks import Finding, Severity
from provision.engine import STOPPED, Engine, Interrupt, Outcome
from provision.errors import FindingsError, UsageError
from provision.events import Emit, Event
from provision.facts import Facts, MachineFacts, Query
from provision.locallock import local_lock
from provision.phase import GateSpec, Phase, Run
from provision.plan import Plan, discover, left_out, select
from provision.report import Reporter
from provision.site import Site
from provision.verbs.check import check_machines
from provision.verbs.record import Recording, holder, recorded
from provision.verbs.reset import take_off
from provision.verbs.verify import Verdict, verify_site


def make_plan(
    app: Application, only: Iterable[str] = (), meanwhile: Callable[[], None] = lambda: None
) -> tuple[Plan, Facts]:
    """What ``up`` would do; reads, and changes nothing.

    Parameters
    ----------
    only
        Names of phases to judge; all without any.
    meanwhile
        Called while machines and cluster are about to be read.
    """
    phases = select(app.phases, only)
    context = app.context()
    facts = app.observe(
        context,
        phases,
        app.site.hosts,
        extra=Query(texts=frozenset({SITE_MARKER})) | leftovers.query(app.site, discover()),
        meanwhile=meanwhile,
    )
    app.refuse_foreign_cluster(facts)
    plan = Plan.of(context, phases, facts)
    return (plan if only else replace(plan, leftovers=app.leftovers(facts))), facts


def bring_up(
    app: Application,
    reporter: Reporter,
    interrupt: Interrupt,
    only: Iterable[str] = (),
    *,
    verify: bool = True,
    prune: bool = False,
    with_data: Sequence[str] = (),
    agreed: Callable[[Plan], None] = lambda _: None,
    prove: bool = False,
) -> Outcome:
    """Make the site true, and where anything was changed prove what it promises.

    Parameters
    ----------
    prune
        Take off what the site file does not name any more.
    with_data
        Components that may be taken off although they hold data.
    agreed
        Raises where the plan is not one that may be carried out.
    prove
        Prove it even where nothing is to be done.

    Raises
    ------
    FindingsError
        The machines are not fit, a phase is blocked, or what is to be taken off holds data;
        nothing was changed.
    LockedError
        Another run holds the site.
    """
    phases = select(app.phases, only)
    with local_lock(app.state, str(holder())), recorded(app, reporter, "up") as recording:
        outcome = _bring_up(
            app,
            phases,
            recording,
            interrupt,
            only,
            verify=verify,
            prune=prune,
            with_data=with_data,
            agreed=agreed,
            prove=prove,
        )
        recording.outcome = outcome.word
        return outcome


def _bring_up(
    app: Application,
    phases: Sequence[Phase],
    recording: Recording,
    interrupt: Interrupt,
    only: Iterable[str],
    *,
    verify: bool,
    prune: bool,
    with_data: Sequence[str],
    agreed: Callable[[Plan], None],
    prove: bool,
) -> Outcome:
    emit = recording.emit
    engine = _engine(app, phases, emit, interrupt)
    with ThreadPoolExecutor(max_workers=1) as pool:
        # Mostly nothing is to be done, and then this is all that is left to know.
        looking: list[Future[list[tuple[Phase, GateSpec]]]] = []
        plan, facts = make_plan(app, only, lambda: looking.append(pool.submit(engine.unsettled)))
        emit(Event("plan", data=plan.as_dict()))
        refuse_blocked(plan)
        agreed(plan)
        if prune:
            refuse_data(plan, with_data)
        else:
            _mention(plan, emit)
        if interrupt.after_step():
            return Outcome(plan.decisions, plan.unreachable, stopped=STOPPED)
        if not (plan.changes or (prune and plan.leftovers)):
            outcome = engine.settle(plan, looking[0].result())
            return _proven(app, emit, outcome) if prove and outcome.complete else outcome
    with app.machines.lock(holder(recording.run)) as lock:
        plan, facts = make_plan(app, only)
        refuse_blocked(plan)
        agreed(plan)
        refuse_unfit(app, plan, facts)
        if prune:
            refuse_data(plan, with_data)
        if interrupt.after_step():
            return Outcome(plan.decisions, plan.unreachable, stopped=STOPPED)
        app.ansible().clear()
        outcome = _engine(app, phases, emit, interrupt, lock.keep).up(plan, facts)
        if only and not outcome.complete:
            for name in left_out(make_plan(app)[0], phases):
                text = f"left out by --only, and what was asked for stands on it: {name}"
                emit(Event("notice", text=f"{text}; to do all: provision up"))
        if prune and outcome.complete:
            outcome = replace(outcome, removed=_prune(app, plan, emit, interrupt))
        if not (verify and outcome.changed and outcome.complete):
            return outcome
        return _proven(app, emit, outcome)


def _mention(plan: Plan, emit: Emit) -> None:
    for leftover in plan.leftovers:
        emit(Event("notice", text=f"{leftover.row()}; to take it off: {leftover.command}"))


def _prune(app: Application, plan: Plan, emit: Emit, interrupt: Interrupt) -> list[str]:
    """Take off what is left over; the names of what was."""
    removed: list[str] = []
    phases = {phase.name: phase for phase in discover()}
    for leftover in plan.leftovers:
        if interrupt.after_step():
            break
        former = app.still_with(leftover)
        take_off(former, phases[leftover.name], emit, interrupt, leftover.command)
        removed.append(leftover.name)
    return removed


def _proven(app: Application, emit: Emit, outcome: Outcome) -> Outcome:
    """The outcome, with what the site does not keep of its promises."""

    def tell(verdict: Verdict) -> Verdict:
        emit(Event("notice", text=verdict.row(), data={"verdict": asdict(verdict)}))
        return verdict

    emit(Event("notice", text="verifying with throw-away objects"))
    return replace(outcome, error=verify_site(app, tell=tell).failure())


def _engine(
    app: Application,
    phases: Sequence[Phase],
    emit: Emit,
    interrupt: Interrupt,
    guard: Callable[[], None] = lambda: None,
) -> Engine:
    return Engine(
        app.context(),
        phases,
        observer=app,
        effects=app.ansible(),
        gates=app.gates(),
        preparer=app,
        inventory=app,
        emit=emit,
        interrupt=interrupt,
        guard=guard,
    )


def refuse_blocked(plan: Plan) -> None:
    """Refuse the whole run while any phase is blocked, so that nothing is half done."""
    if plan.findings:
        first, *others = plan.findings
        raise FindingsError(first, found="; ".join(others), fix="provision plan")


def refuse_data(plan: Plan, with_data: Sequence[str]) -> None:
    """Refuse to take off what holds data, unless it was named."""
    unknown = sorted(set(with_data) - {item.name for item in plan.leftovers})
    if unknown:
        raise UsageError(
            f"{unknown[0]} is nothing that would be taken off",
            wanted=", ".join(item.name for item in plan.leftovers) or "nothing is left over",
            fix="provision plan",
        )
    refused = list(leftovers.refusals(plan.leftovers, with_data))
    if refused:
        named = [item.name for item in plan.leftovers if item.data]
        raise FindingsError(
            "what the site file does not name any more holds data; nothing was touched",
            found="; ".join(refused),
            why="it could not be brought back",
            fix="provision up --prune " + " ".join(f"--with-data {name}" for name in named),
        )


def refuse_unfit(app: Application, plan: Plan, facts: Facts) -> None:
    """Check the machines that the plan would touch, before anything is touched.

    ``facts`` hold what machines say at :data:`provision.app.SITE_MARKER`.
    """
    touched = {
        host for item in plan.decisions.values() if isinstance(item, Run) for host in item.hosts
    }
    joined = {host for host in facts.reachable if is_marked(app.site, facts.machines[host])}
    errors = list(hindering(check_machines(app, app.bundle), touched, touched - joined))
    if errors:
        first = errors[0]
        raise FindingsError(
            f"{first.what}" + (f", and {len(errors) - 1} more findings" if errors[1:] else ""),
            where=first.host,
            found=first.found,
            wanted=first.wanted,
            fix=f"{first.fix}; see all with: provision check",
        )


def is_marked(site: Site, machine: MachineFacts) -> bool:
    """Whether a machine carries the mark of the site, by its texts."""
    return (machine.observed["texts"].get(SITE_MARKER) or "").strip() == site.name


def hindering(
    findings: Iterable[Finding], touched: AbstractSet[str], new: AbstractSet[str]
) -> Iterator[Finding]:
    """The errors that stand in the way of work on ``touched``.

    One that machines have together does so while the site does not run with it yet: where one of
    them is ``new``, without the site's mark. Those that have it all along go on being repaired.
    """
    for finding in findings:
        told = finding.host in touched or not new.isdisjoint(finding.among)
        if finding.severity is Severity.ERROR and told:
            yield finding
