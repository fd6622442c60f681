"""The one visible list: which phases there are, in which order, and what each would do."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from types import ModuleType
from typing import Any

from provision import phases as phases_package
from provision.errors import UsageError
from provision.facts import Facts
from provision.leftovers import Leftover
from provision.phase import Blocked, Context, Decision, Phase, Run, Skip, Unknown
from provision.site import Settings, Site

NOBODY_ANSWERS = "none of its machines answers"
"""Why nothing can be done for a component, and nothing told of it."""


@lru_cache(maxsize=1)
def discover() -> tuple[Phase, ...]:
    """Every phase in ``provision/phases``, in the order in which they run.

    Phases that do not depend on each other stand in alphabetical order.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(phases_package.__path__))
    modules = (importlib.import_module(f"{phases_package.__name__}.{name}") for name in names)
    return order([phase for module in modules for phase in _phases_of(module)])


def _phases_of(module: ModuleType) -> Iterator[Phase]:
    for value in vars(module).values():
        if (
            isinstance(value, type)
            and issubclass(value, Phase)
            and value.__module__ == module.__name__
            and "name" in vars(value)
        ):
            yield value()


def order(phases: Sequence[Phase]) -> tuple[Phase, ...]:
    """Sort ``phases`` so that each stands behind those in its ``after``.

    Raises
    ------
    ValueError
        ``after`` goes in a circle or names a phase that does not exist.
    """
    by_name = {phase.name: phase for phase in sorted(phases, key=lambda phase: phase.name)}
    for phase in phases:
        unknown = set(phase.after) - set(by_name)
        if unknown:
            raise ValueError(f"phase {phase.name} comes after unknown phases {sorted(unknown)}")
    sorter = TopologicalSorter({name: phase.after for name, phase in by_name.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise ValueError(f"the phases' order goes in a circle: {error.args[1]}") from error
    ordered: list[Phase] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        ordered.extend(by_name[name] for name in ready)
        sorter.done(*ready)
    return tuple(ordered)


def phases_of(site: Site) -> tuple[Phase, ...]:
    """The phases of the components that ``site`` has, in order."""
    return tuple(phase for phase in discover() if phase.enabled(site))


def not_needed(site: Site) -> frozenset[str]:
    """Components of the bundle's catalog that ``site`` has no use for."""
    needed = {name for phase in phases_of(site) for name in phase.bundled}
    return frozenset(name for phase in discover() for name in phase.bundled) - needed


def on_request(site: Site) -> tuple[str, ...]:
    """What ``site`` needs that a bundle has only on request."""
    return tuple(sorted({name for phase in phases_of(site) for name in phase.on_request(site)}))


def select(phases: Sequence[Phase], names: Iterable[str]) -> tuple[Phase, ...]:
    """Only the phases with these names, in order; all of them without names.

    Raises
    ------
    UsageError
        There is no phase of that name, or the site has not that component.
    """
    wanted = set(names)
    unknown = wanted - {phase.name for phase in phases}
    switched_off = sorted(unknown & {phase.name for phase in discover()})
    if switched_off:
        raise UsageError(
            f"the site does not have {', '.join(switched_off)}",
            why="it is optional, and its key does not stand in the site file",
            fix=f"write `{switched_off[0]}: {{}}` into the site file",
        )
    if unknown:
        raise UsageError(
            f"there is no phase {', '.join(sorted(unknown))}",
            wanted=f"one of: {', '.join(phase.name for phase in phases)}",
        )
    return tuple(phase for phase in phases if not wanted or phase.name in wanted)


def settings_models(phases: Sequence[Phase]) -> tuple[type[Settings], ...]:
    """The settings of all ``phases``, for :func:`provision.site.site_model`."""
    return tuple(phase.settings for phase in phases)


@dataclass(frozen=True)
class Plan:
    """What each phase decided, in order, and the machines that did not answer."""

    decisions: Mapping[str, Decision]
    unreachable: Mapping[str, str]
    leftovers: Sequence[Leftover] = ()
    """What the site file does not name any more; it stays unless ``up`` is told to prune."""

    @classmethod
    def of(cls, context: Context, phases: Sequence[Phase], facts: Facts) -> Plan:
        """Let each phase judge the facts."""
        return cls(
            {phase.name: _decided(phase, context, facts) for phase in phases},
            {
                name: f"{machine.error.what}: {machine.error.found}".removesuffix(": ")
                for name, machine in facts.machines.items()
                if machine.error is not None
            },
        )

    @property
    def changes(self) -> bool:
        """Whether ``up`` would do anything."""
        return any(isinstance(item, Run | Unknown) for item in self.decisions.values())

    @property
    def findings(self) -> tuple[str, ...]:
        """Why phases are blocked, each with its phase's name."""
        return tuple(
            f"{name}: {finding}"
            for name, decision in self.decisions.items()
            if isinstance(decision, Blocked)
            for finding in decision.findings
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json`` and the journal."""
        return {
            "phases": {name: decision_as_dict(item) for name, item in self.decisions.items()},
            "leftovers": {item.name: item.as_dict() for item in self.leftovers},
            "unreachable": dict(self.unreachable),
            "changes": self.changes,
        }


def _decided(phase: Phase, context: Context, facts: Facts) -> Decision:
    """What ``phase`` decides; nothing is said of machines none of which answered."""
    decision = phase.decide(context, facts)
    hosts = phase.hosts(context)
    if isinstance(decision, Skip) and hosts and not set(hosts) & set(facts.reachable):
        return Skip(NOBODY_ANSWERS, decision.attention)
    return decision


def decision_as_dict(decision: Decision) -> dict[str, Any]:
    """A decision as plain data: its kind and what it says."""
    match decision:
        case Run():
            return {
                "decision": "run",
                "hosts": list(decision.hosts),
                "reasons": {host: list(why) for host, why in decision.reasons.items()},
            }
        case Skip():
            attention = {"attention": decision.attention} if decision.attention else {}
            return {"decision": "skip", "reason": decision.reason, **attention}
        case Blocked():
            return {"decision": "blocked", "findings": list(decision.findings)}
        case Unknown():
            return {"decision": "unknown", "until": decision.until}


def left_out(plan: Plan, phases: Sequence[Phase]) -> list[str]:
    """Phases with work to do that ``phases`` stand on and that are not among them, in order."""
    below = {name for phase in phases for name in phase.after} - {phase.name for phase in phases}
    return [
        name
        for name, decision in plan.decisions.items()
        if name in below and isinstance(decision, Run)
    ]


def render(plan: Plan, most_reasons: int = 12) -> Iterator[str]:
    """The plan as lines of text: a phase a line, below it the machines with their reasons.

    What several machines differ in is said once.
    """
    width = max(map(len, plan.decisions), default=0)
    for name, decision in plan.decisions.items():
        match decision:
            case Run():
                yield f"{name:{width}}  run on {', '.join(decision.hosts)}"
                for hosts, reasons in _alike(decision.reasons):
                    yield f"{'':{width}}    {', '.join(hosts)}:"
                    yield from (f"{'':{width}}      {reason}" for reason in reasons[:most_reasons])
                    if len(reasons) > most_reasons:
                        yield f"{'':{width}}      and {len(reasons) - most_reasons} more (--json)"
            case Skip():
                known = "not known" if decision.reason == NOBODY_ANSWERS else "nothing to do"
                yield f"{name:{width}}  {known}: {decision.reason}"
                if decision.attention:
                    yield f"{'':{width}}    needs you: {decision.attention}"
            case Blocked():
                yield f"{name:{width}}  blocked"
                yield from (f"{'':{width}}    {finding}" for finding in decision.findings)
            case Unknown():
                yield f"{name:{width}}  not known yet: it needs {decision.until}"
    for leftover in plan.leftovers:
        yield f"{leftover.row()}; to take it off: {leftover.command}"
    yield from _silent(plan.unreachable)


def _silent(unreachable: Mapping[str, str]) -> Iterator[str]:
    for host, why in unreachable.items():
        yield f"{host} does not answer: {why}"
    if unreachable:
        yield "what to do about machines that do not answer: provision check"


def _alike(reasons: Mapping[str, Sequence[str]]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Machines and what all of them differ in, what most have in common first."""
    hosts: dict[str, list[str]] = {}
    for host, why in reasons.items():
        for reason in dict.fromkeys(why):
            hosts.setdefault(reason, []).append(host)
    groups: dict[tuple[str, ...], list[str]] = {}
    for reason, those in hosts.items():
        groups.setdefault(tuple(those), []).append(reason)
    yield from sorted(groups.items(), key=lambda group: -len(group[0]))
