"""What ``provision bundle`` does: plain data out, operators' errors raised."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from filelock import FileLock, Timeout

from provision.bundle.bundle import Bundle
from provision.bundle.catalog import (
    Architecture,
    Catalog,
    SourceKind,
    catalog,
    default_kubernetes_version,
)
from provision.bundle.layout import bring_back, write_bundle
from provision.bundle.lock import LOCK, PUBLIC_KEY, Lock
from provision.bundle.ospackages import PackageArchive, require_apt, role_packages
from provision.bundle.progress import Progress, Silent, Step, WithMore
from provision.bundle.prune import prune, remember_steps
from provision.bundle.results import Results
from provision.bundle.signing import KeyRing, PublicKey
from provision.bundle.source import SourceSource, default_jobs
from provision.bundle.sources import Source
from provision.bundle.store import BlobStore
from provision.bundle.toolchain import machine_architecture
from provision.errors import BundleError, LockedError, UsageError
from provision.paths import cache_path


@dataclass(frozen=True)
class Built:
    """A bundle that has just been built."""

    path: Path
    lock: Lock
    fingerprint: str
    """Of the key that signed it."""
    seconds: float
    freed: int
    """Bytes of cached blobs that the finished bundle does not need, removed."""


@dataclass(frozen=True)
class Listed:
    """A bundle in the cache."""

    name: str
    path: Path
    kubernetes: str
    architecture: str
    source: str
    size: int
    """In bytes."""
    problem: str
    """Why it cannot be used; empty when it can."""


@dataclass(frozen=True)
class Buildable:
    """A Kubernetes version that can be bundled."""

    kubernetes: str
    sources: tuple[SourceKind, ...]
    default: bool


def build(
    kubernetes: str = "",
    architecture: Architecture | None = None,
    source: SourceKind = "source",
    *,
    mirrors: tuple[str, ...] = (),
    ca_bundle: Path | None = None,
    versions: Mapping[str, str] = MappingProxyType({}),
    jobs: int = 0,
    keep_caches: bool = False,
    os_packages: tuple[str, ...] = (),
    packages: tuple[str, ...] = (),
    not_needed: Collection[str] = (),
    requested: tuple[str, ...] = (),
    progress: Progress | None = None,
    cache: Path | None = None,
    keys: KeyRing | None = None,
    filler: Source | None = None,
    offered: Catalog | None = None,
) -> Built:
    """Build the bundle for a Kubernetes version, and sign it.

    Parameters
    ----------
    kubernetes
        Empty: the catalog's default.
    architecture
        None: this machine's.
    mirrors, ca_bundle
        For ``upstream``: ``FROM=TO`` for URL prefixes or registries, and a file
        of authorities to trust besides the system's.
    versions
        Version by component, of those that shall not be the newest.
    jobs
        For ``source``: builds at the same time; 0: by cores.
    keep_caches
        Do not drop build caches and sources afterwards.
    os_packages
        Debian releases whose packages, those of the roles, go into the bundle.
    packages
        Further ones, which a site's ``machine.packages`` names.
    not_needed
        Components to leave out, as long as the bundle does not hold them already: what was
        built for one site is not lost by a build for another.
    requested
        Components on request that go into the bundle.
    cache, keys
        None: the caller's own.
    filler
        What fills the bundle; None: what ``source`` names, with its defaults.
    offered
        What can be bundled; None: the catalog that the project ships.

    Raises
    ------
    OperatorError
        Something is missing or cannot be had. What was finished is kept, and
        the same call continues from there.
    """
    begin = time.monotonic()
    if packages and not os_packages:
        raise UsageError(
            "packages are named, and no release of Debian to take them from",
            found=f"--package {' --package '.join(packages)}",
            fix="name the release of the site's machines too: --os-packages 12",
        )
    cache = cache or cache_path()
    keys = keys or KeyRing.default()
    selection = (offered or catalog()).select(
        kubernetes or default_kubernetes_version(),
        architecture or machine_architecture(),
        source,
        versions=versions,
        requested=set(requested),
    )
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache):
        moment = time.time_ns()
        store = BlobStore(cache / "blobs")
        results = Results(cache / "steps", store)
        chosen = filler
        if chosen is None and source == "source":
            chosen = SourceSource(cache, store, results, jobs or default_jobs())
        elif chosen is None:
            chosen = _upstream(cache, store, mirrors, ca_bundle)
        archives = [
            PackageArchive(
                cache / "debian" / f"packages-{release}-{selection.architecture}",
                store,
                selection.architecture,
                release,
            )
            for release in sorted(set(os_packages))
        ]
        name = f"{selection.kubernetes}-{source}-{selection.architecture}"
        asked = [f"{one}-{version}" for one, version in sorted(selection.chosen.items())]
        kinds = (*asked, *selection.requested, *(archive.step for archive in archives))
        path = cache / "bundles" / "-".join([name, *kinds])
        bring_back(path)
        spared = {*_held(path), *selection.requested}
        selection = selection.without(frozenset(not_needed) - spared)
        chosen.require(selection)
        if archives:
            require_apt()
        more = tuple(Step(archive.step, 0) for archive in archives)
        progress = WithMore(progress or Silent(), more)
        provided = dict(chosen.provide(selection, progress))
        for archive in archives:
            component, provided[archive.step] = archive.provide(
                (*role_packages(), *packages), progress
            )
            selection = selection.with_component(component)
        lock = write_bundle(path, selection, source, provided, store, keys)
        remember_steps(path, results.used_since(moment))
        freed = 0 if keep_caches else prune(cache, store, results)
    fingerprint = PublicKey.read(path / PUBLIC_KEY).fingerprint
    return Built(path, lock, fingerprint, round(time.monotonic() - begin, 1), freed)


def parse_versions(asked: Iterable[str]) -> Mapping[str, str]:
    """Version by component, from the command line's ``NAME=VERSION``.

    Raises
    ------
    UsageError
        One is of another form.
    """
    versions = {}
    for text in asked:
        name, _, version = text.partition("=")
        if not name or not version:
            raise UsageError(
                "a component's version is not given as NAME=VERSION",
                found=text,
                fix="provision bundle build --component metallb=0.16.1",
            )
        versions[name] = version
    return versions


def on_request() -> tuple[str, ...]:
    """Components that a bundle has only where it is built with them."""
    return catalog().on_request()


def verify(path: Path, trusted_keys: tuple[Path, ...] = (), *, trust: bool = False) -> Bundle:
    """Read every byte of the bundle at ``path`` and compare it with its signed lock.

    Parameters
    ----------
    trust
        Trust the key that lies beside the bundle from now on.

    Raises
    ------
    BundleError
        Something is missing, changed, unsigned or signed by a stranger.
    """
    if trust:
        KeyRing.default().pin(PublicKey.read(path / PUBLIC_KEY))
    bundle = Bundle.open(path, trusted_keys)
    bundle.verify()
    return bundle


def bundles(cache: Path | None = None) -> tuple[Listed, ...]:
    """Bundles in the cache, by name, usable or not."""
    folder = (cache or cache_path()) / "bundles"
    return tuple(_listed(path.parent) for path in sorted(folder.glob(f"[!.]*/{LOCK}")))


def buildable(architecture: Architecture | None = None) -> tuple[Buildable, ...]:
    """Kubernetes versions in the catalog, and how each can be had."""
    chosen = architecture or machine_architecture()
    kinds: tuple[SourceKind, ...] = ("source", "upstream")
    by_kind = {kind: catalog().obtainable(chosen, kind) for kind in kinds}
    return tuple(
        Buildable(
            version,
            tuple(kind for kind in kinds if version in by_kind[kind]),
            version == default_kubernetes_version(),
        )
        for version in catalog().kubernetes_versions()
    )


def choices(
    kubernetes: str = "", architecture: Architecture | None = None
) -> Mapping[str, Mapping[SourceKind, tuple[str, ...]]]:
    """Versions by source by component, of those that go with a Kubernetes version."""
    version = kubernetes or default_kubernetes_version()
    chosen = architecture or machine_architecture()
    kinds: tuple[SourceKind, ...] = ("source", "upstream")
    by_kind = {kind: catalog().versions(version, chosen, kind) for kind in kinds}
    return {
        component.name: {kind: by_kind[kind][component.name] for kind in kinds}
        for component in catalog().components
    }


def show(path: Path, trusted_keys: tuple[Path, ...] = ()) -> Bundle:
    """Open the bundle at ``path``; its ``lock`` says what is in it.

    Raises
    ------
    BundleError
        As ``Bundle.open``.
    """
    return Bundle.open(path, trusted_keys)


def named(name: str, cache: Path | None = None) -> Path:
    """Folder of a bundle given by folder, by name in the cache, or by Kubernetes version.

    Raises
    ------
    BundleError
        There is none.
    """
    folder = (cache or cache_path()) / "bundles"
    if "/" in name or (Path(name) / LOCK).exists():
        return Path(name)
    if (folder / name / LOCK).exists():
        return folder / name
    return Bundle.find(folder, name or default_kubernetes_version())


def _held(path: Path) -> frozenset[str]:
    """Names of the components of the bundle at ``path``; none where there is no bundle."""
    try:
        lock = Lock.decode((path / LOCK).read_bytes(), str(path))
    except (FileNotFoundError, BundleError):
        return frozenset()
    return frozenset(component.name for component in lock.components)


def _upstream(
    cache: Path, store: BlobStore, mirrors: tuple[str, ...], ca_bundle: Path | None
) -> Source:
    from provision.bundle.upstream import UpstreamOptions, UpstreamSource

    return UpstreamSource(cache, store, UpstreamOptions.parse(mirrors, ca_bundle))


def _listed(path: Path) -> Listed:
    try:
        lock = Bundle.open(path).lock
    except BundleError as error:
        return Listed(path.name, path, "", "", "", 0, error.what)
    return Listed(lock.name, path, lock.kubernetes, lock.architecture, lock.source, lock.size, "")


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Hold the cache's lock; the kernel frees it when its holder dies.

    Raises
    ------
    LockedError
        Another build holds it.
    """
    path = cache / "build.lock"
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise LockedError(
            "another build uses this cache",
            where=str(path),
            fix="wait for it; what it finishes is used here too",
        ) from error
    try:
        yield
    finally:
        lock.release()
