"""``platform sync``: Argo CD looks at the repository now, and applies what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from provision.app import Application
from provision.argocd.applications import Object
from provision.argocd.operation import Operation, operation_of
from provision.gates import Gates, judged
from provision.phase import GateSpec
from provision.verbs.platform import argocd_api, platform_settings, require_known

CONDITION = "applications synchronised"


class Syncing(Protocol):
    """What is asked of Argo CD."""

    def applications(self) -> Sequence[Object]:
        """Every application."""

    def application(self, name: str, *, refresh: bool = False) -> Object:
        """One, with ``refresh`` after a look at its repository."""

    def sync(self, name: str, *, prune: bool) -> bool:
        """Ask for a synchronisation; False where another one goes on."""


@dataclass(frozen=True)
class Synced:
    """How each synchronisation ended."""

    operations: Sequence[Operation]

    @property
    def succeeded(self) -> bool:
        """Whether all did."""
        return all(one.succeeded for one in self.operations)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {
            "succeeded": self.succeeded,
            "operations": [asdict(one) for one in self.operations],
        }


def sync_platform(
    app: Application, names: Sequence[str], *, prune: bool, report: Callable[[str], None]
) -> Synced:
    """Synchronise ``names``, or all: first the application that makes the others.

    Raises
    ------
    UsageError
        The site has no platform, or Argo CD no such application.
    UnreachableError
        Argo CD does not answer, or refuses.
    DeadlineError
        Not every synchronisation ended in the time that the site file gives.
    """
    settings = platform_settings(app)
    syncing = Synchronisation(argocd_api(app), settings.deadline_seconds, report)
    if names:
        require_known(syncing.argocd.applications(), names)
        return Synced(syncing.run(list(dict.fromkeys(names)), prune=prune))
    first = syncing.run([settings.name], prune=prune)
    if not first[0].succeeded:
        return Synced(first)
    listed = [str(one["metadata"]["name"]) for one in syncing.argocd.applications()]
    others = [name for name in sorted(listed) if name != settings.name]
    return Synced([*first, *syncing.run(others, prune=prune)])


class Synchronisation:
    """Asks for synchronisations and waits for their ends.

    Parameters
    ----------
    argocd
        Is asked.
    seconds
        How long all those of one run may take.
    report
        Is told what is waited for.
    gates
        Makes what waits for conditions.
    """

    def __init__(
        self,
        argocd: Syncing,
        seconds: float,
        report: Callable[[str], None],
        gates: Callable[[Mapping[str, Any]], Gates] = Gates,
    ) -> None:
        self.argocd = argocd
        self.seconds = seconds
        self.report = report
        self.gates = gates

    def run(self, names: Sequence[str], *, prune: bool) -> list[Operation]:
        """Synchronise ``names`` at the same time; how each ended, in their order.

        What the repository has no more goes where ``prune`` or the application says so.
        """
        pruned = {
            name: prune or _prunes(self.argocd.application(name, refresh=True)) for name in names
        }
        left = set(names)
        ended: dict[str, Operation] = {}

        def look(_: Mapping[str, Any]) -> Iterator[str]:
            # One that goes on by itself is of a commit that may not be the newest.
            asked = [name for name in left if self.argocd.sync(name, prune=pruned[name])]
            left.difference_update(asked)
            for name in names:
                if name in left:
                    yield f"{name} is being synchronised already"
                elif name not in ended:
                    found = operation_of(self.argocd.application(name))
                    if found.ended:
                        ended[name] = found
                    else:
                        yield f"{name} is {found.phase}: {found.message}".removesuffix(": ")

        conditions = {CONDITION: lambda given: judged(look, given)}
        waiting = GateSpec(CONDITION, self.seconds)
        self.gates(conditions).wait(waiting, self.report, lambda: False)
        return [ended[name] for name in names]


def render(synced: Synced) -> Iterator[str]:
    """A line an application."""
    width = max((len(one.application) for one in synced.operations), default=0)
    for one in synced.operations:
        mark = "ok " if one.succeeded else "BAD"
        yield f"{mark}  {one.application:{width}}  {one.phase:9}  {one.message}".rstrip()


def _prunes(application: Object) -> bool:
    automated = application.get("spec", {}).get("syncPolicy", {}).get("automated") or {}
    return bool(automated.get("prune"))
