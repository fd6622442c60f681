"""Stateful stand-ins for machines and everything that works on them.

A fake machine holds a set of labels; a fake phase wants its own label on its
machines, and the fake effect runner puts it there. Tests look at the labels
afterwards, never at calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

from provision.effects import Effect, EffectResult
from provision.errors import DeadlineError, UnreachableError
from provision.events import Emit, Event
from provision.facts import Facts, MachineFacts, Query
from provision.phase import Context, Decision, GateSpec, Phase, Run, Skip, StoredFile
from provision.site import Host, NetworkSettings, Part, Settings, Site

ADDRESSES = ip_network("192.0.2.0/24")


def make_site(control_plane: int = 3, workers: int = 0) -> Site:
    """A site of ``n1``, ``n2``, …, the first ones control-plane machines."""
    hosts = {}
    for number in range(1, control_plane + workers + 1):
        part = Part.CONTROL_PLANE if number <= control_plane else Part.WORKER
        hosts[f"n{number}"] = Host(address=ip_address(f"192.0.2.{number}"), parts=(part,))
    return Site(name="unit", hosts=hosts, network=NetworkSettings(machines=(ADDRESSES,)))


class NoBundle:
    """A bundle for phases that install nothing."""

    digest = "sha256:" + "0" * 64
    versions: ClassVar[Mapping[str, str]] = {}
    images: ClassVar[Mapping[str, str]] = {}

    def depot_tree(self) -> Sequence[StoredFile]:
        return ()

    def blob(self, sha256: str) -> Path:
        raise KeyError(sha256)

    def sha256(self, name: str, architecture: str) -> str:
        raise KeyError(name, architecture)

    def path(self, name: str, architecture: str) -> Path:
        raise KeyError(name, architecture)


class NoSecrets:
    """A store that holds nothing."""

    def sha256(self, name: str) -> str | None:
        return None

    def certificate(self, name: str) -> str | None:
        return None


@dataclass
class FakeSite:
    """Machines, what is true on each, and which of them misbehave."""

    site: Site
    labels: dict[str, set[str]] = field(default_factory=dict)
    unreachable: set[str] = field(default_factory=set)
    failing: dict[str, str] = field(default_factory=dict)
    """Machine by the phase that fails there."""
    stubborn: set[str] = field(default_factory=set)
    """Phases whose effect succeeds without any effect."""
    gates_closed: set[str] = field(default_factory=set)
    readings: list[tuple[str, ...]] = field(default_factory=list)
    plays: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    during: Callable[[Effect], None] = lambda _: None
    lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        for name in self.site.hosts:
            self.labels.setdefault(name, set())

    @property
    def context(self) -> Context:
        return Context(self.site, NoBundle(), NoSecrets())

    def observe(self, context: Context, phases: Sequence[Phase], hosts: Iterable[str]) -> Facts:
        with self.lock:
            self.readings.append(tuple(phase.name for phase in phases))
            return Facts({name: self._machine(name) for name in hosts})

    def _machine(self, name: str) -> MachineFacts:
        if name in self.unreachable:
            return MachineFacts(name, error=UnreachableError("connection refused", where=name))
        return MachineFacts(name, {"labels": set(self.labels[name])})

    def run(self, effect: Effect, emit: Emit, cancelled: Callable[[], bool]) -> EffectResult:
        self.during(effect)
        if cancelled():
            return EffectResult({}, {}, cancelled=True)
        changed, failed = {}, {}
        with self.lock:
            self.plays.append((effect.phase, tuple(effect.inventory)))
            for host in effect.inventory:
                if self.failing.get(effect.phase) == host:
                    failed[host] = "it broke"
                    emit(Event("host-failed", effect.phase, host, "it broke"))
                elif effect.phase not in self.stubborn:
                    self.labels[host].add(effect.phase)
                    changed[host] = 1
        return EffectResult(changed, failed)

    def holds(self, gate: GateSpec) -> bool:
        return gate.condition not in self.gates_closed

    def wait(
        self, gate: GateSpec, report: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> None:
        if gate.condition in self.gates_closed:
            raise DeadlineError(f"{gate.condition}: not in time", found="still closed")

    def prepare(self, phase: Phase) -> Context:
        return self.context

    def inventory(self, context: Context, hosts: Iterable[str]) -> dict[str, dict[str, Any]]:
        return {host: {} for host in hosts}


class LabelPhase(Phase):
    """Wants its own name among the labels of its machines."""

    settings = Settings

    def __init__(
        self, name: str, *after: str, gate: str = "", waves: bool = False, lead: str = ""
    ) -> None:
        self.name = name  # type: ignore[misc]
        self.after = after  # type: ignore[misc]
        self.gate = gate
        self.in_waves = waves
        self.lead = lead

    def query(self, context: Context, host: str) -> Query:
        return Query()

    def decide(self, context: Context, facts: Facts) -> Decision:
        missing = {
            name: [f"label {self.name} is missing"]
            for name in facts.reachable
            if self.name not in facts.machines[name].observed["labels"]
        }
        if not missing:
            return Skip("all labelled")
        waves = [[name] for name in missing] if self.in_waves else ()
        return Run(missing, waves=waves, lead=self.lead)

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        return {}

    def gates(self, context: Context, hosts: Sequence[str]) -> Sequence[GateSpec]:
        return [GateSpec(self.gate, 1.0)] if self.gate else []
