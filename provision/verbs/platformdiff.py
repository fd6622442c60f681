"""``platform diff``: what Argo CD would change in the cluster for the newest commit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from provision.app import Application
from provision.argocd.applications import Object, Standing, standings
from provision.argocd.differences import Difference, differences
from provision.verbs.platform import argocd_api, platform_settings, require_known


class Comparing(Protocol):
    """What is asked of Argo CD."""

    def application(self, name: str, *, refresh: bool = False) -> Object:
        """One, with ``refresh`` after a look at its repository."""

    def managed(self, name: str) -> Sequence[Object]:
        """Objects of an application: live and wanted."""


@dataclass(frozen=True)
class Comparison:
    """One application, compared with its repository."""

    standing: Standing
    differences: Sequence[Difference]

    @property
    def failed(self) -> bool:
        """Whether Argo CD could not compare it."""
        return self.standing.sync == "Unknown"

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {
            "application": self.standing.name,
            "sync": self.standing.sync,
            "revision": self.standing.revision,
            "failure": self.standing.why if self.failed else "",
            "differences": [
                {"object": str(one.resource), "is": one.what, "diff": list(one.lines())}
                for one in self.differences
            ],
        }


def compare_platform(app: Application, names: Sequence[str]) -> list[Comparison]:
    """Compare ``names``, or all, after a look at their repositories.

    Raises
    ------
    UsageError
        The site has no platform, or Argo CD no such application.
    UnreachableError
        Argo CD does not answer, or refuses.
    """
    platform_settings(app)
    argocd = argocd_api(app)
    listed = argocd.applications()
    require_known(listed, names)
    chosen = names or sorted(str(one["metadata"]["name"]) for one in listed)
    return [compare(argocd, name) for name in dict.fromkeys(chosen)]


def compare(argocd: Comparing, name: str) -> Comparison:
    """Compare one application."""
    found = argocd.application(name, refresh=True)
    (standing,) = standings([found])
    # Asked only where something differs: the answer holds every object twice.
    managed = argocd.managed(name) if standing.sync == "OutOfSync" else ()
    return Comparison(standing, list(differences(found, managed)))


def render(compared: Sequence[Comparison]) -> Iterator[str]:
    """Every difference, then a line for each application."""
    for one in compared:
        for difference in one.differences:
            yield f"{one.standing.name}: {difference.resource} is {difference.what}"
            yield from difference.lines()
            yield ""
    width = max((len(one.standing.name) for one in compared), default=0)
    for one in compared:
        found = one.standing
        yield f"{found.name:{width}}  {found.short_revision:8}  {_said(one)}".rstrip()


def _said(compared: Comparison) -> str:
    if compared.failed:
        return f"cannot be compared: {compared.standing.why or 'Argo CD does not say why'}"
    count = len(compared.differences)
    if count:
        return f"{count} objects differ" if count > 1 else "1 object differs"
    return "as the repository says" if compared.standing.sync == "Synced" else "differs"
