"""``platform``: how the applications stand that Argo CD keeps, and waiting until all are well."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from provision.app import Application
from provision.argocd.applications import Object, Standing, summary
from provision.argocd.names import NAMESPACE
from provision.errors import UsageError
from provision.gates import Gates
from provision.phases.argocd import ArgocdSettings, host_of
from provision.phases.platform import Platform, PlatformSettings

if TYPE_CHECKING:
    from provision.adapters.argocd import ArgocdApi


@dataclass(frozen=True)
class PlatformStatus:
    """How every application stands."""

    applications: Sequence[Standing]
    exceptions: Mapping[str, str]
    """Why some need not be Synced and Healthy, by name."""

    @property
    def healthy(self) -> bool:
        """Whether all are as they should be, but for the exceptions; there is one at least."""
        wanted = [one for one in self.applications if one.name not in self.exceptions]
        return bool(wanted) and all(one.well for one in wanted)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {
            "healthy": self.healthy,
            "summary": summary(self.applications),
            "applications": [asdict(one) for one in self.applications],
            "exceptions": dict(self.exceptions),
        }


def platform_status(app: Application) -> PlatformStatus:
    """Ask the cluster.

    Raises
    ------
    UsageError
        The site has no platform.
    UnreachableError
        The API does not answer, or has no applications yet.
    """
    settings = platform_settings(app)
    return PlatformStatus(list(app.cluster.standings(NAMESPACE)), settings.exceptions)


def wait_for_platform(app: Application, report: Callable[[str], None]) -> PlatformStatus:
    """Wait as long as the site file says, and tell ``report`` what is waited for.

    Raises
    ------
    DeadlineError
        Not all were Synced and Healthy in time.
    """
    platform_settings(app)
    gates = Gates(app.cluster.conditions())
    for gate in Platform().gates(app.context(), ()):
        gates.wait(gate, report, lambda: False)
    return platform_status(app)


def render(status: PlatformStatus) -> Iterator[str]:
    """A line an application, then all of them in one."""
    width = max((len(one.name) for one in status.applications), default=0)
    for one in status.applications:
        reason = status.exceptions.get(one.name, "")
        mark = "ok " if one.well else "-  " if reason else "BAD"
        excused = f"  (need not be: {reason})" if reason else ""
        state = f"{one.sync:10} {one.health:11} {one.short_revision:8}"
        yield f"{mark}  {one.name:{width}}  {state}  {one.detail}{excused}".rstrip()
    yield summary(status.applications)


def platform_settings(app: Application) -> PlatformSettings:
    """How the site's platform is followed.

    Raises
    ------
    UsageError
        It has none.
    """
    if not app.site.has(PlatformSettings):
        raise UsageError(
            "the site has no platform",
            why="it is optional, and its key does not stand in the site file",
            fix="write `platform: {repository: URL}` into the site file",
        )
    return app.site.settings(PlatformSettings)


def argocd_api(app: Application) -> ArgocdApi:
    """The site's Argo CD, logged in as ``admin``.

    Raises
    ------
    UsageError
        The site file has none.
    SecretsError
        Its password has not been made yet.
    UnreachableError
        It does not answer, or does not take the password.
    """
    if not app.site.has(ArgocdSettings):
        raise UsageError(
            "the site has no Argo CD that follows its platform",
            fix="write `argocd: {address: ADDRESS}` into the site file; then: provision up",
        )
    return app.argocd(app.site.settings(ArgocdSettings).address, host_of(app.site))


def require_known(applications: Iterable[Object], names: Sequence[str]) -> None:
    """Refuse names that no application has.

    Raises
    ------
    UsageError
        Names one, and those that there are.
    """
    known = sorted(str(one["metadata"]["name"]) for one in applications)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(
            f"Argo CD has no application {unknown[0]}",
            wanted=f"one of: {', '.join(known)}" if known else "an application; there is none",
            fix="provision platform status",
        )
