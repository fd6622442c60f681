"""Who initialises, who joins, who is repaired: decided from what the machines and the API say.

There is never a second cluster. The cluster's authorities are made before the
first machine is, and kubeadm's configuration is on every control-plane machine
that answers before one of them initialises. So wherever a majority answers,
a cluster that was begun is seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from provision.kubeadm import paths
from provision.kubeadm.stamp import Stamp

RENEW_WITHIN = timedelta(days=60)
"""kubeadm's certificates hold a year; the last two months are for renewing them."""


@dataclass(frozen=True)
class Machine:
    """What one machine that answers tells of its membership."""

    name: str
    control_plane: bool
    stamp: Stamp | None
    etcd_data: bool
    begun: bool
    """kubeadm's configuration is there, or something that kubeadm made."""
    files: Mapping[str, Mapping[str, Any] | None]
    clock: float
    """Seconds since 1970."""

    @classmethod
    def of(cls, name: str, control_plane: bool, observed: Mapping[str, Any]) -> Machine:
        """From the reader's answer to :func:`queried_files` and the stamp's text."""
        files = observed["files"]
        made = [path for path in paths.made_files(control_plane) if files[path]]
        return cls(
            name=name,
            control_plane=control_plane,
            stamp=Stamp.parse(observed["texts"][paths.STAMP]),
            etcd_data=files[paths.ETCD_DATA] is not None,
            begun=bool(made) or files[paths.INIT] is not None,
            files=files,
            clock=float(observed["clock"]["started"]),
        )


@dataclass(frozen=True)
class Desired:
    """What the site wants, as far as membership goes."""

    version: str
    control_plane: Sequence[str]
    ca: str | None
    """sha256 of the cluster's CA certificate; None before it is made."""
    inputs: Mapping[str, Mapping[str, str | None]]
    """By machine: sha256 by path of the configuration that kubeadm reads."""


@dataclass(frozen=True)
class Cluster:
    """What the API says, as far as membership goes."""

    reachable: bool
    error: str = ""
    kubelets: Mapping[str, str] = field(default_factory=dict)
    """Version of the kubelet by node."""


@dataclass
class Work:
    """What one machine has to do, and why."""

    step: str = "keep"
    """``init``, ``join``, ``rejoin`` or ``keep``."""
    repair: list[str] = field(default_factory=list)
    renew: list[str] = field(default_factory=list)
    register: bool = False
    reasons: list[str] = field(default_factory=list)


def queried_files(control_plane: bool) -> frozenset[str]:
    """Files that :meth:`Machine.of` looks at besides the role's own."""
    return frozenset((*paths.made_files(control_plane), paths.ETCD_DATA, paths.INIT))


def findings(machines: Sequence[Machine], desired: Desired, cluster: Cluster) -> Iterator[str]:
    """Why nothing may be done, one sentence each."""
    for machine in machines:
        if machine.stamp is not None:
            yield from _membership_findings(machine, machine.stamp, desired)
    stamped = {machine.name for machine in machines if machine.stamp is not None}
    for name, version in cluster.kubelets.items():
        if name not in stamped and version.lstrip("v") != desired.version:
            yield _version_finding(name, version.lstrip("v"), desired.version)
    yield from _cluster_findings(machines, desired, cluster)


def _membership_findings(machine: Machine, stamp: Stamp, desired: Desired) -> Iterator[str]:
    if stamp.ca != desired.ca:
        yield (
            f"{machine.name} is a member of a cluster with another certificate authority than the"
            " one in this site's secrets; bring those secrets here (provision secrets import FILE)"
            " or take that cluster off the machine (provision reset)"
        )
    if stamp.version != desired.version:
        yield _version_finding(machine.name, stamp.version, desired.version)
    if stamp.control_plane != machine.control_plane:
        was, wanted = _part(stamp.control_plane), _part(machine.control_plane)
        yield (
            f"{machine.name} is a {was} machine and the site makes it a {wanted} machine;"
            f" take {machine.name} out of the site, reset it, then add it again"
        )


def _version_finding(name: str, found: str, wanted: str) -> str:
    allowed = _skew(found, wanted)
    return (
        f"{name} runs Kubernetes {found} and the site wants {wanted}: that is an upgrade, which no"
        f" component does yet{allowed}; set kubernetes.version to {found}"
    )


def _skew(found: str, wanted: str) -> str:
    """What Kubernetes' version skew policy says of going from ``found`` to ``wanted``."""
    old, new = _minor(found), _minor(wanted)
    if old is None or new is None:
        return ""
    if new < old:
        return " (and Kubernetes never goes back to an older minor version)"
    if new > old + 1:
        return f" (and it goes one minor version at a time, here by 1.{old + 1})"
    return ""


def _minor(version: str) -> int | None:
    parts = version.split(".")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else None


def _cluster_findings(
    machines: Sequence[Machine], desired: Desired, cluster: Cluster
) -> Iterator[str]:
    stamped = [item for item in machines if item.stamp is not None]
    members = [item for item in stamped if item.control_plane]
    data = [item.name for item in machines if item.etcd_data]
    silent = [
        name for name in desired.control_plane if name not in {item.name for item in machines}
    ]
    if members:
        intact = [item for item in members if item.etcd_data]
        if not intact and not silent:
            yield (
                "etcd's data is gone from every control-plane machine"
                f" ({', '.join(item.name for item in members)}: {paths.ETCD_DATA} is missing);"
                " restore a snapshot of etcd, or begin anew: provision reset"
            )
        return
    if len(data) > 1:
        yield (
            f"{' and '.join(data)} hold data of etcd but none is a finished member, so which of"
            " them to trust is not known; take the wrong one off: provision reset"
        )
    if data or cluster.reachable:
        return
    if stamped:
        yield (
            f"{', '.join(item.name for item in stamped)} belong to a cluster, and no control-plane"
            " machine that answers has its data"
            + (f" ({', '.join(silent)} do not answer)" if silent else "")
            + "; bring those machines back, or begin anew: provision reset"
        )
    elif silent and any(item.begun for item in machines if item.control_plane):
        yield (
            f"an installation was begun, and {', '.join(silent)} may hold its data but do not"
            " answer; beginning again without them could make a second cluster. Bring them back,"
            " then: provision up"
        )


def decide(machines: Sequence[Machine], desired: Desired, cluster: Cluster) -> dict[str, Work]:
    """What each machine has to do; only machines that have something to do.

    Call it only where :func:`findings` finds nothing.
    """
    first = initialiser(machines, cluster)
    works: dict[str, Work] = {}
    for machine in machines:
        work = _work(machine, first, desired, cluster)
        if work.reasons:
            works[machine.name] = work
    return works


def initialiser(machines: Sequence[Machine], cluster: Cluster) -> str | None:
    """The machine that makes the cluster, or completes making it; None where it stands."""
    members = [item for item in machines if item.control_plane]
    if any(item.stamp is not None for item in members):
        return None
    for machine in members:
        if machine.etcd_data:
            return machine.name
    if cluster.reachable or not members:
        return None
    return members[0].name


def _work(machine: Machine, first: str | None, desired: Desired, cluster: Cluster) -> Work:
    if machine.stamp is None:
        return _enter(machine, first, cluster)
    if machine.control_plane and not machine.etcd_data:
        return Work("rejoin", reasons=[f"etcd's data is gone: {paths.ETCD_DATA} is missing"])
    return _keep(machine, machine.stamp, desired, cluster)


def _enter(machine: Machine, first: str | None, cluster: Cluster) -> Work:
    part = _part(machine.control_plane)
    unfinished = any(machine.files[path] for path in paths.made_files(machine.control_plane))
    if machine.name == first:
        reason = "no cluster yet: initialise it here"
        if unfinished or machine.etcd_data:
            reason = "initialising the cluster was interrupted: complete it"
        return Work("init", reasons=[reason])
    reason = f"not in the cluster: join as {part}"
    if machine.name in cluster.kubelets or unfinished:
        reason = f"joining as {part} was interrupted: complete it"
    elif machine.etcd_data:
        reason = f"not in the cluster, though it has data of etcd: join as {part} with new data"
    return Work("join", reasons=[reason])


def _keep(machine: Machine, stamp: Stamp, desired: Desired, cluster: Cluster) -> Work:
    work = Work()
    for path, found in stamp.damaged(machine.files):
        work.repair.append(path)
        work.reasons.append(f"file {path} is {found}, wanted as kubeadm made it")
    if machine.control_plane:
        changed = stamp.changed_inputs(desired.inputs[machine.name])
        if changed:
            work.repair.extend(path for path in _made_from(changed) if path not in work.repair)
            work.reasons.extend(f"{path} changed since static pods were made" for path in changed)
    for name, days in stamp.due(machine.clock, RENEW_WITHIN).items():
        work.renew.append(name)
        left = f"ends in {days} days" if days >= 0 else f"ended {-days} days ago"
        work.reasons.append(f"certificate {name} {left}, wanted more than {RENEW_WITHIN.days}")
    if cluster.reachable and machine.name not in cluster.kubelets:
        work.register = True
        work.reasons.append("its Node is gone from the API, wanted registered")
    return work


def _made_from(changed: Sequence[str]) -> list[str]:
    made = [path for path in paths.CONTROL_PLANE_FILES if path.startswith(paths.MANIFESTS)]
    if paths.INIT in changed:
        made += [f"{paths.PKI}/apiserver.crt", f"{paths.PKI}/apiserver.key"]
    return made


def _part(control_plane: bool) -> str:
    return "control-plane" if control_plane else "worker"
