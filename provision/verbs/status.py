"""``status``: how the site stands, read anew; nothing is remembered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from provision import conditions
from provision.app import Application
from provision.argocd.applications import summary
from provision.errors import OperatorError
from provision.facts import ClusterFacts, Facts
from provision.phase import Blocked, Run, Skip, Unknown
from provision.phases.platform import PlatformSettings
from provision.plan import NOBODY_ANSWERS, Plan
from provision.verbs.platform import platform_status
from provision.verbs.up import make_plan

SOON_DAYS = 30
"""A certificate with fewer days left makes a site unhealthy: ``up`` renews earlier than that."""


@dataclass(frozen=True)
class Row:
    """One thing of a site, whether it is as it should be, and what was seen."""

    section: str
    name: str
    healthy: bool
    detail: str


@dataclass(frozen=True)
class SiteStatus:
    """Every row of a site."""

    site: str
    rows: Sequence[Row]
    versions: Mapping[str, str]

    @property
    def healthy(self) -> bool:
        """Whether every row is."""
        return all(row.healthy for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        rows = [asdict(row) for row in self.rows]
        return {
            "site": self.site,
            "healthy": self.healthy,
            "rows": rows,
            "versions": dict(self.versions),
        }


def site_status(app: Application) -> SiteStatus:
    """Read machines and cluster, and judge each part."""
    plan, facts = make_plan(app)
    rows = [
        *_machines(app, plan),
        *_phases(plan),
        *_nodes(app, facts.cluster),
        *_etcd(app, facts),
        *_pods(app, facts.cluster),
        *_applications(app, facts.cluster),
        *_certificates(app),
    ]
    return SiteStatus(app.site.name, rows, app.bundle.versions)


def render(status: SiteStatus) -> Iterator[str]:
    """The rows as text, and a last line that says it all."""
    width = max((len(row.name) for row in status.rows), default=0)
    section = ""
    for row in status.rows:
        if row.section != section:
            section = row.section
            yield section
        yield f"  {'ok ' if row.healthy else 'BAD'}  {row.name:{width}}  {row.detail}"
    yield "versions"
    yield "       " + ", ".join(f"{name} {text}" for name, text in sorted(status.versions.items()))
    bad = sum(not row.healthy for row in status.rows)
    yield (
        f"{status.site} is healthy"
        if not bad
        else f"{status.site} is not healthy ({bad} of {len(status.rows)}); next: provision plan"
    )


def _machines(app: Application, plan: Plan) -> Iterator[Row]:
    for name, host in app.site.hosts.items():
        why = plan.unreachable.get(name, "")
        parts = ", ".join(host.parts)
        yield Row("machines", name, not why, why or f"{host.address} {parts}")


def _phases(plan: Plan) -> Iterator[Row]:
    for name, decision in plan.decisions.items():
        match decision:
            case Skip():
                detail = decision.attention or decision.reason
                fine = not decision.attention and decision.reason != NOBODY_ANSWERS
                yield Row("components", name, healthy=fine, detail=detail)
            case Run():
                first = next(f"{host}: {why[0]}" for host, why in decision.reasons.items())
                count = sum(map(len, decision.reasons.values()))
                detail = first if count == 1 else f"{first} and {count - 1} more"
                yield Row("components", name, healthy=False, detail=detail)
            case Blocked():
                yield Row("components", name, healthy=False, detail=decision.findings[0])
            case Unknown():
                yield Row("components", name, healthy=False, detail=f"needs {decision.until}")


def _nodes(app: Application, cluster: ClusterFacts) -> Iterator[Row]:
    if not cluster.reachable:
        yield Row("nodes", "API", healthy=False, detail=cluster.error)
        return
    for name in app.site.hosts:
        node = cluster.nodes.get(name)
        if node is None:
            yield Row("nodes", name, healthy=False, detail="not a node of the cluster")
        else:
            state = "Ready" if node.ready else "not Ready"
            yield Row("nodes", name, node.ready, f"{state}, kubelet {node.kubelet_version}")
    for name in set(cluster.nodes) - set(app.site.hosts):
        yield Row("nodes", name, healthy=False, detail="a node that the site file does not name")


def _etcd(app: Application, facts: Facts) -> Iterator[Row]:
    asked = [name for name in app.site.control_plane if name in facts.reachable]
    try:
        members = {member.name: member for member in app.etcd.members(asked)}
    except OperatorError as error:
        yield Row(
            "etcd",
            "members",
            healthy=False,
            detail=f"{error.what}: {error.found}".removesuffix(": "),
        )
        return
    for name in app.site.control_plane:
        member = members.pop(name, None)
        if member is None:
            yield Row("etcd", name, healthy=False, detail="not a member")
        else:
            voting = "learner" if member.learner else "voting"
            yield Row("etcd", name, member.healthy, member.detail or f"healthy, {voting}")
    for name in members:
        yield Row("etcd", name, healthy=False, detail="a member that the site file does not name")


def _pods(app: Application, cluster: ClusterFacts) -> Iterator[Row]:
    if not cluster.reachable:
        return
    pods = app.cluster.pods("kube-system")
    wrong = list(conditions.pods_not_ready(pods))
    detail = "; ".join(wrong[:5]) or f"{len(pods)} ready"
    yield Row("system pods", "kube-system", not wrong, detail)


def _applications(app: Application, cluster: ClusterFacts) -> Iterator[Row]:
    if not (cluster.reachable and app.site.has(PlatformSettings)):
        return
    try:
        found = platform_status(app)
    except OperatorError as error:
        yield Row("platform", "applications", healthy=False, detail=error.found or error.what)
        return
    yield Row("platform", "applications", found.healthy, summary(found.applications))


def _certificates(app: Application) -> Iterator[Row]:
    for secret in app.secrets.describe():
        # The joining certificate lives for a day and is made anew whenever it is needed.
        if secret.days_left is None or secret.name == "kubernetes/join":
            continue
        yield Row(
            "certificates",
            secret.name,
            secret.days_left >= SOON_DAYS,
            f"{secret.days_left} days left",
        )
