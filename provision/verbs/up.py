"""``plan`` and ``up``: the same decisions, shown or carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace

from provision.app import SITE_MARKER, Application
from provision.engine import Engine, Interrupt, Outcome
from provision.errors import FindingsError, OperatorError
from provision.events import Emit, Event
from provision.facts import Facts, Query
from provision.locallock import local_lock
from provision.phase import GateSpec, Phase, Run
from provision.plan import Plan, select
from provision.report import Reporter
from provision.verbs.check import check_site
from provision.verbs.record import holder, recorded
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
        extra=Query(texts=frozenset({SITE_MARKER})),
        meanwhile=meanwhile,
    )
    app.refuse_foreign_cluster(facts)
    return Plan.of(context, phases, facts), facts


def bring_up(
    app: Application,
    reporter: Reporter,
    interrupt: Interrupt,
    only: Iterable[str] = (),
    *,
    verify: bool = True,
) -> Outcome:
    """Make the site true, and where anything was changed prove what it promises.

    Raises
    ------
    FindingsError
        The machines are not fit, or a phase is blocked; nothing was changed.
    LockedError
        Another run holds the site.
    """
    phases = select(app.phases, only)
    with local_lock(app.state, str(holder())), recorded(app, reporter, "up") as recording:
        emit = recording.emit
        engine = _engine(app, phases, emit, interrupt)
        with ThreadPoolExecutor(max_workers=1) as pool:
            # Mostly nothing is to be done, and then this is all that is left to know.
            looking: list[Future[list[tuple[Phase, GateSpec]]]] = []
            plan, facts = make_plan(
                app, only, lambda: looking.append(pool.submit(engine.unsettled))
            )
            emit(Event("plan", data=plan.as_dict()))
            refuse_blocked(plan)
            if not plan.changes:
                return engine.settle(plan, looking[0].result())
        with app.machines.lock(holder(recording.run)) as lock:
            plan, facts = make_plan(app, only)
            refuse_blocked(plan)
            refuse_unfit(app, plan)
            app.ansible().clear()
            outcome = _engine(app, phases, emit, interrupt, lock.keep).up(plan, facts)
            if not (verify and outcome.changed and outcome.complete):
                return outcome
            emit(Event("notice", text="verifying with throw-away objects"))
            return replace(outcome, error=_verify(app, emit))


def _verify(app: Application, emit: Emit) -> OperatorError | None:
    def tell(verdict: Verdict) -> Verdict:
        emit(Event("notice", text=verdict.row(), data={"verdict": asdict(verdict)}))
        return verdict

    return verify_site(app, tell=tell).failure()


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


def refuse_unfit(app: Application, plan: Plan) -> None:
    """Check the machines that the plan would touch, before anything is touched."""
    touched = {
        host for item in plan.decisions.values() if isinstance(item, Run) for host in item.hosts
    }
    errors = [
        finding
        for finding in check_site(app)
        if finding.severity == "error" and finding.host in touched
    ]
    if errors:
        first = errors[0]
        raise FindingsError(
            f"{first.what}" + (f", and {len(errors) - 1} more findings" if errors[1:] else ""),
            where=first.host,
            found=first.found,
            wanted=first.wanted,
            fix=f"{first.fix}; see all with: provision check",
        )
