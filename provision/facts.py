"""What was read, as plain data: of each machine, and of the cluster.

A :class:`Query` says what to read on one machine; all phases' queries are
merged, so that one command over one connection answers them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from provision.errors import OperatorError
from provision.manifests import KindIn
from provision.state import DesiredState


@dataclass(frozen=True)
class Query:
    """What to read on one machine.

    ``files`` are read as digest, mode and owner, ``texts`` also whole (small
    files without secrets), ``globs`` as lists of paths, ``ports`` as whether
    a TCP port is listened on, ``connect`` as whether ``address:port`` answers
    a ping or a TCP connection, or ``https://name`` as a registry does, ``names``
    are questions to name servers (``SERVER NAME TYPE``), ``postgresql`` asks the
    machine's own server how it stands
    (``PORT DIRECTORY [DATABASE…]``). ``system`` asks for hardware, kernel, clock,
    network, swap and so on, which ``check`` judges; ``etcd`` for the members of
    etcd as the machine's own one tells of them.
    """

    files: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    globs: frozenset[str] = frozenset()
    units: frozenset[str] = frozenset()
    sysctls: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()
    packages: frozenset[str] = frozenset()
    connect: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    postgresql: frozenset[str] = frozenset()
    system: bool = False
    etcd: bool = False

    def __or__(self, other: Query) -> Query:
        return Query(
            **{name: getattr(self, name) | getattr(other, name) for name in self.__annotations__}
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data, in a stable order, as the reader takes it."""
        values = {name: getattr(self, name) for name in self.__annotations__}
        return {
            name: value if isinstance(value, bool) else sorted(value)
            for name, value in values.items()
        }


def query_for(desired: DesiredState) -> Query:
    """The query whose answer :func:`provision.state.differences` needs."""
    paths = (
        *(item.path for item in desired.directories),
        *(item.path for item in desired.files),
        *desired.absent,
    )
    return Query(
        files=frozenset(paths),
        units=frozenset(unit.name for unit in desired.units),
        sysctls=frozenset(desired.sysctls),
        modules=frozenset(desired.modules),
        packages=frozenset(desired.packages),
    )


@dataclass(frozen=True)
class ServiceQuery:
    """What to ask a service of its own, outside the cluster, through its API.

    ``kind`` names the adapter that asks; ``arguments`` are plain data for it,
    without secrets.
    """

    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MachineFacts:
    """The reader's answer for one machine, or why there is none."""

    name: str
    observed: Mapping[str, Any] = field(default_factory=dict)
    error: OperatorError | None = None

    @property
    def reachable(self) -> bool:
        """Whether the machine answered."""
        return self.error is None


@dataclass(frozen=True)
class ObjectState:
    """How a Kubernetes object stands against its manifest."""

    exists: bool
    differences: Sequence[str] = ()
    """Paths of the fields that differ from the manifest."""


@dataclass(frozen=True)
class NodeFacts:
    """A Kubernetes node as its API object tells."""

    name: str
    ready: bool
    kubelet_version: str
    control_plane: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[str] = ()


@dataclass(frozen=True)
class ClusterFacts:
    """What the Kubernetes API says; without ``reachable`` the rest is empty."""

    reachable: bool
    error: str = ""
    version: str = ""
    nodes: Mapping[str, NodeFacts] = field(default_factory=dict)
    objects: Mapping[str, ObjectState] = field(default_factory=dict)
    applied: Mapping[KindIn, Sequence[str]] = field(default_factory=dict)
    """Names of the objects that we applied, of each kind that was asked for."""


@dataclass(frozen=True)
class Facts:
    """Everything that was read at one moment."""

    machines: Mapping[str, MachineFacts]
    cluster: ClusterFacts = ClusterFacts(reachable=False, error="not asked")
    services: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What services outside the cluster told, by the name of the phase that asked."""

    @property
    def reachable(self) -> tuple[str, ...]:
        """Names of the machines that answered, in the order they were asked."""
        return tuple(name for name, facts in self.machines.items() if facts.reachable)

    def only(self, names: Iterable[str]) -> Facts:
        """These facts without the machines that are not in ``names``."""
        kept = set(names)
        machines = {name: value for name, value in self.machines.items() if name in kept}
        return Facts(machines, self.cluster, self.services)
