"""``check``: every finding about every machine, from one reading, and about the platform."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from provision.app import Application
from provision.charts import ChartRenderer
from provision.checkout import Checkout
from provision.checks import Finding, Needs, Severity, check_queries, run_checks
from provision.clusterphase import controller_architecture
from provision.errors import BundleError
from provision.facts import Facts
from provision.paths import cache_path
from provision.phases.platform import PlatformSettings
from provision.site import OsPackages


def check_site(app: Application) -> list[Finding]:
    """Read all machines at once and judge them; errors first."""
    if app.on_request:
        # Refused now, before anything is waited for.
        app.bundle.require(app.on_request)
    openings = [opening for phase in app.phases for opening in phase.openings(app.site)]
    needs = Needs.of(app.site, openings)
    if app.site.os_packages is OsPackages.BUNDLE:
        needs = needs.from_bundle(app.site, app.role_packages, app.bundle.os_packages)
    facts = Facts(app.machines.read(check_queries(app.site, needs)))
    found = [*run_checks(app.site, facts, needs), *check_platform(app)]
    return sorted(found, key=lambda one: one.severity != Severity.ERROR)


def check_platform(app: Application) -> list[Finding]:
    """Judge the site's own repository, where the site file lies in it; asks no machine."""
    if not app.site.has(PlatformSettings):
        return []
    settings = app.site.settings(PlatformSettings)
    try:
        bundle = app.bundle
    except BundleError:
        return Checkout(app.site.directory, settings, None, None).judge()
    renderer = ChartRenderer(bundle, controller_architecture(), cache_path())
    template = partial(renderer.template, kubernetes=bundle.versions["kubernetes"])
    return Checkout(app.site.directory, settings, template, frozenset(bundle.images)).judge()


def render(findings: Sequence[Finding]) -> Iterator[str]:
    """The findings as text, each with what was found, what is wanted and the fix."""
    for finding in findings:
        yield f"{finding.severity}: {finding.host or 'site'}: {finding.what}"
        for label in ("found", "wanted", "fix"):
            text = getattr(finding, label)
            if text:
                yield f"  {label + ':':8}{text}"
    errors = sum(finding.severity == "error" for finding in findings)
    yield (
        f"{errors} errors, {len(findings) - errors} warnings"
        if findings
        else "every machine is fit; next: provision plan"
    )
