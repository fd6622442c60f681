"""``check``: all findings about machines, from one reading, the bundle and the platform."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from provision.app import Application
from provision.charts import ChartRenderer
from provision.checkout.builtin import built_in
from provision.checkout.definitions import DEFINITION
from provision.checkout.images import Depots
from provision.checkout.judge import Checkout, Kustomize, Template
from provision.checkout.schemas import Schemas
from provision.checks import Finding, Needs, Severity, check_queries, run_checks
from provision.checks.finding import error
from provision.clusterphase import ClusterPhase, controller_architecture
from provision.errors import BundleError, ConfigError, OperatorError
from provision.facts import Facts
from provision.kustomizations import PROGRAM, build
from provision.manifests import Manifest
from provision.paths import cache_path
from provision.phase import Context, Phase
from provision.phases.containerd import ContainerdSettings
from provision.phases.platform import AUTHORITY, PlatformSettings
from provision.rendering import BundledProgram
from provision.site import OsPackages

if TYPE_CHECKING:
    from provision.bundle import Bundle


def check_site(app: Application) -> list[Finding]:
    """Read all machines at once and judge them, the bundle and the platform; errors first."""
    bundle, found = _bundle(app)
    platform, registries = check_platform(app, bundle)
    found += [*check_machines(app, bundle, registries), *platform]
    return sorted(found, key=lambda one: one.severity != Severity.ERROR)


def check_machines(
    app: Application, bundle: Bundle | None, registries: frozenset[str] = frozenset()
) -> list[Finding]:
    """Read all machines at once and judge them; errors first.

    Parameters
    ----------
    bundle
        Tells which Debian packages there will be; without it they are not judged.
    registries
        Those that machines have to reach.
    """
    openings = [opening for phase in app.phases for opening in phase.openings(app.site)]
    needs = replace(Needs.of(app.site, openings), registries=registries)
    if app.site.os_packages is OsPackages.BUNDLE and bundle is not None:
        needs = needs.from_bundle(app.site, app.role_packages, bundle.os_packages)
    facts = Facts(app.machines.read(check_queries(app.site, needs)))
    return run_checks(app.site, facts, needs)


def check_platform(app: Application, bundle: Bundle | None) -> tuple[list[Finding], frozenset[str]]:
    """Judge the site's own repository, where the site file lies in it; asks no machine.

    Also tells the registries that machines have to reach for it.
    """
    if not app.site.has(PlatformSettings):
        return [], frozenset()
    settings = app.site.settings(PlatformSettings)
    own = built_in(app.kubernetes_version)
    checkout = partial(
        Checkout, app.site.directory, settings, authority=app.secrets.certificate(AUTHORITY)
    )
    if bundle is None:
        return checkout(None, None, schemas=Schemas(own)).judge(), frozenset()
    renderer = ChartRenderer(bundle, controller_architecture(), cache_path())
    template: Template | None = partial(renderer.template, kubernetes=bundle.versions["kubernetes"])
    found: list[Finding] = []
    try:
        renderer.helm.path()
    except BundleError as problem:
        template, found = None, [_told(problem)]
    definitions, refused = definitions_of(app.phases, Context(app.site, bundle, app.secrets))
    fallback = app.site.settings(ContainerdSettings).upstream_fallback
    depots = Depots(bundle.images, fallback=fallback)
    schemas = Schemas(own, definitions)
    judged = checkout(template, depots, schemas=schemas, kustomize=_kustomize(bundle))
    found += [*refused, *judged.judge()]
    return found, judged.registries


def _kustomize(bundle: Bundle) -> Kustomize | None:
    """What renders kustomizations; nothing where the bundle has no kustomize."""
    architecture = controller_architecture()
    try:
        bundle.sha256(PROGRAM, architecture)
    except BundleError:
        return None
    return partial(build, BundledProgram(bundle, PROGRAM, architecture, cache_path() / "charts"))


def definitions_of(
    phases: Sequence[Phase], context: Context
) -> tuple[list[Manifest], list[Finding]]:
    """Definitions of custom resources that components bring, as they will be applied.

    What a component's chart refuses is found on the way. What the bundle lacks of it is told by
    ``plan``.
    """
    definitions: list[Manifest] = []
    found: list[Finding] = []
    for phase in phases:
        if not isinstance(phase, ClusterPhase):
            continue
        try:
            objects = phase.objects(context)
        except BundleError:
            continue
        except ConfigError as problem:
            found.append(_told(problem))
            continue
        definitions += [item for item in objects if item["kind"] == DEFINITION]
    return definitions, found


def _bundle(app: Application) -> tuple[Bundle | None, list[Finding]]:
    """The site's bundle where something is judged by it, and what is wrong with it.

    One that lacks something is still what machines get, and has helm.
    """
    by_bundle = app.on_request or app.site.os_packages is OsPackages.BUNDLE
    if not (by_bundle or app.site.has(PlatformSettings)):
        return None, []
    try:
        bundle = app.opened_bundle
    except BundleError as problem:
        return None, [_told(problem)]
    try:
        app.require(bundle)
    except BundleError as problem:
        return bundle, [_told(problem)]
    return bundle, []


def _told(problem: OperatorError) -> Finding:
    """An error as a finding, in its own words."""
    found = ": ".join(text for text in (problem.where, problem.found) if text)
    return error("", problem.what, found=found, wanted=problem.wanted, fix=problem.fix)


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
