"""``provision bundle``: build, verify, list and show."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from provision.cli_common import JsonOption, application_of, show
from provision.errors import UsageError
from provision.site import Architecture

bundle_app = typer.Typer(help="Build, verify and show bundles.", no_args_is_help=True)

NameArgument = Annotated[
    str, typer.Argument(metavar="BUNDLE", help="Folder, name, or Kubernetes version.")
]
KeyOption = Annotated[
    list[Path] | None, typer.Option("--key", help="Trusted public key; repeatable.")
]

UsedBySite = Annotated[
    str | None,
    typer.Option("--site", metavar="SITE", help="The bundle and the keys that this site uses."),
]


class From(StrEnum):
    """Where a bundle's content comes from."""

    SOURCE = "source"
    UPSTREAM = "upstream"


class Debian(StrEnum):
    """Releases of Debian that machines may run."""

    BOOKWORM = "12"
    TRIXIE = "13"


@bundle_app.command(epilog="Example: provision bundle build --kubernetes 1.36.3 --source source")
def build(
    site: Annotated[
        str | None,
        typer.Option(
            "--site", metavar="SITE", help="Only what this site needs, for its Kubernetes version."
        ),
    ] = None,
    kubernetes: Annotated[str, typer.Option(help="Kubernetes version.")] = "",
    source: Annotated[
        From, typer.Option(help="Build from Go modules, or fetch what is published.")
    ] = From.SOURCE,
    architecture: Annotated[
        Architecture | None, typer.Option(help="Architecture; this machine's without.")
    ] = None,
    mirror: Annotated[
        list[str] | None,
        typer.Option(help="FROM=TO for an address or registry; repeatable; for upstream."),
    ] = None,
    ca_bundle: Annotated[
        Path | None, typer.Option(help="Authorities to trust besides the system's; for upstream.")
    ] = None,
    component: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VERSION of a component that shall not be the newest; repeatable."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Builds at the same time; 0: by cores.")] = 0,
    os_packages: Annotated[
        list[Debian] | None,
        typer.Option(help="Debian release whose packages machines take from here; repeatable."),
    ] = None,
    package: Annotated[
        list[str] | None,
        typer.Option(help="Debian package besides those of the roles; repeatable."),
    ] = None,
    requested: Annotated[
        list[str] | None,
        typer.Option(
            "--with", help="Component that is only there on request, such as argocd; repeatable."
        ),
    ] = None,
    keep_caches: Annotated[
        bool, typer.Option("--keep-caches", help="Keep build caches and sources.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Build a bundle and sign it; an interrupted build goes on where it was."""
    from provision.bundle import commands
    from provision.bundle.display import shown

    wanted = _Wanted() if site is None else _wanted_by(site)
    with shown(sys.stderr, as_json=as_json) as progress:
        built = commands.build(
            kubernetes or wanted.kubernetes,
            None if architecture is None else architecture.value,
            source.value,
            mirrors=tuple(mirror or ()),
            ca_bundle=ca_bundle,
            versions={**wanted.versions, **commands.parse_versions(component or ())},
            jobs=jobs,
            os_packages=tuple(release.value for release in os_packages or ()),
            packages=tuple(package or ()),
            not_needed=wanted.not_needed,
            requested=(*(requested or ()), *wanted.on_request),
            keep_caches=keep_caches,
            progress=progress,
        )
    show(
        {"path": str(built.path), "key": built.fingerprint, "seconds": built.seconds},
        as_json,
        lambda: [
            (
                f"{built.path} in {built.seconds:.0f} s, {len(built.lock.files)} files and"
                f" {len(built.lock.images)} images, signed by {built.fingerprint}"
            )
        ],
    )


@dataclass(frozen=True)
class _Wanted:
    """What a bundle has to be; without a site, all of the newest."""

    kubernetes: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    not_needed: frozenset[str] = frozenset()
    on_request: tuple[str, ...] = ()


def _wanted_by(name: str) -> _Wanted:
    """What a site's bundle has to be."""
    from provision.app import find_site, read_site
    from provision.phases.kubernetes import KubernetesSettings
    from provision.plan import not_needed, on_request

    site = read_site(find_site(name)).site
    version = site.settings(KubernetesSettings).version
    return _Wanted(version, site.bundle.versions, not_needed(site), on_request(site))


@bundle_app.command(epilog="Example: provision bundle verify 1.36.3")
def verify(
    name: NameArgument = "",
    key: KeyOption = None,
    site: UsedBySite = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Trust the key beside the bundle from now on.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read every byte of a bundle and compare it with its signed lock; needs no network."""
    from provision.bundle import commands

    path, keys = _chosen(name, key, site)
    bundle = commands.verify(path, keys, trust=trust)
    show(
        {"path": str(bundle.folder), "digest": bundle.digest},
        as_json,
        lambda: [f"{bundle.folder} is whole and signed by {bundle.key.fingerprint}"],
    )


def _chosen(name: str, keys: list[Path] | None, site: str | None) -> tuple[Path, tuple[Path, ...]]:
    """Folder of the bundle that is meant, and the keys to believe."""
    from provision.bundle import commands

    if site is None:
        return commands.named(name), tuple(keys or ())
    if name:
        raise UsageError("a bundle is given by its name or by the site that uses it, not by both")
    application = application_of(site)
    return application.bundle_path, tuple(keys or application.trusted_keys)


@bundle_app.command("list", epilog="Example: provision bundle list")
def list_bundles(
    components: Annotated[
        bool,
        typer.Option("--components", help="Tell each component's versions for --kubernetes too."),
    ] = False,
    kubernetes: Annotated[str, typer.Option(help="Kubernetes version.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List the bundles that are here and the versions that can be bundled."""
    from provision.bundle import commands

    here, possible = commands.bundles(), commands.buildable()
    choices = commands.choices(kubernetes) if components else {}
    more = commands.on_request()
    show(
        {
            "here": [vars(item) for item in here],
            "possible": [vars(item) for item in possible],
            **({"components": choices} if components else {}),
            "on_request": list(more),
        },
        as_json,
        lambda: [
            *(
                f"{item.name:28} {item.size / 2**20:7.0f} MiB  {item.problem or item.path}"
                for item in here
            ),
            *(
                f"Kubernetes {item.kubernetes:10} from {', '.join(item.sources) or 'nothing'}"
                f"{'  (default)' if item.default else ''}"
                for item in possible
            ),
            *(
                f"{name:28} {kind:8} {', '.join(versions)}"
                for name, by_kind in choices.items()
                for kind, versions in by_kind.items()
                if versions
            ),
            *(f"on request: provision bundle build --with {name}" for name in more),
        ],
    )


@bundle_app.command("show", epilog="Example: provision bundle show 1.36.3 --json")
def show_bundle(
    name: NameArgument = "",
    key: KeyOption = None,
    site: UsedBySite = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is in a bundle: components, files and images with their digests."""
    from provision.bundle import commands

    bundle = commands.show(*_chosen(name, key, site))
    show(
        bundle.lock.model_dump(mode="json"),
        as_json,
        lambda: [
            f"{bundle.name} ({bundle.lock.source}, {bundle.architecture}) in {bundle.folder}",
            *(f"  {item.name:20} {item.version}" for item in bundle.lock.components),
            *(
                f"  file  {item.name:28} {item.size / 2**20:7.1f} MiB  sha256:{item.sha256}"
                for item in bundle.lock.files
                if item.kind != "package"
            ),
            *(
                f"  {len(names)} packages of Debian {release}"
                for release, names in bundle.os_packages.items()
            ),
            *(
                f"  image {item.reference:56} {item.size / 2**20:7.1f} MiB  {item.digest}"
                for item in bundle.lock.images
            ),
        ],
    )
