"""What can be bundled: components, their versions, and where every byte comes from.

The catalog is data, one file a component under ``provision/bundle/catalog``.
A component lists its files, images and builds once, with placeholders; each
of its releases gives the version, the checksums and the few values that
differ. ``Catalog.select`` picks one release of every component for a
Kubernetes version and returns it with all placeholders filled.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from provision.errors import BundleError

Architecture = Literal["amd64", "arm64"]
ARCHITECTURES: tuple[Architecture, ...] = ("amd64", "arm64")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in hexadecimal."""
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
"""A digest as OCI writes it."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
"""Name of a component, a file, a build or an output."""
FileKind = Literal["binary", "chart", "manifest", "package", "index"]
SourceKind = Literal["source", "upstream"]

_FOLDER = Path(__file__).parent / "catalog"


class Model(BaseModel):
    """Base of the catalog's models: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FromBuild(Model):
    """An output of one of the component's builds."""

    build: Name
    output: Name


class FromDownload(Model):
    """A published file, or one member of a published ``.tar.gz``."""

    download: Name
    member: str = ""
    """Path inside the archive; empty when the download is the file itself."""

    @property
    def part(self) -> str:
        """What is taken out of the download; empty when it is the file itself."""
        return self.member


class FromModule(Model):
    """A chart that is published as a folder of a Go module alone.

    The download is the module's ``.zip``, as the module proxy has it. What is
    in it must have the module's checksum, that of the Go checksum database.
    """

    download: Name
    module: str
    """``module@version``, one of the release's ``modules``."""
    chart: str
    """Folder of the module; it is packed as the source ``source`` packs it."""

    @property
    def part(self) -> str:
        """What is taken out of the download."""
        return f"{self.module}/{self.chart}"


class FileSpec(Model):
    """A plain file of the bundle."""

    name: Name
    kind: FileKind = "binary"
    any_architecture: bool = False
    """The same bytes serve every architecture (charts, manifests)."""
    source: FromBuild | None = None
    upstream: FromDownload | FromModule | None = None


class Content(FromBuild):
    """An output placed in an image: a file, or a folder when the output is one."""

    path: str
    mode: int = 0o755


class Link(Model):
    """A symbolic link in an image."""

    path: str
    target: str


class ImageBuild(Model):
    """How an image is put together from build outputs."""

    base: FromBuild | None = None
    """A root file system made by a ``debian`` build; without it, an empty one."""
    contents: tuple[Content, ...] = ()
    links: tuple[Link, ...] = ()
    scripts: Mapping[str, str] = {}
    """Executables of our own: text by path."""
    folders: tuple[str, ...] = ()
    """Empty folders, mode 1777."""
    texts: Mapping[str, str] = {}
    """Small files of our own: text by path."""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    user: str = ""
    workdir: str = "/"


class ImageSpec(Model):
    """A container image under its upstream name."""

    reference: str
    """``registry/repository:tag``."""
    source: ImageBuild | None = None
    upstream: bool = True
    """The image is published under ``reference``."""


class Step(Model):
    """Something that is built for a component."""

    def recipe(self, *left_out: str) -> dict[str, Any]:
        """What decides what it makes, as plain data.

        What it takes of the building machine does not, nor do the fields in ``left_out``.
        """
        takes = ("disk", "memory", "minutes", "debian_needs")
        return self.model_dump(mode="json", exclude={*takes, *left_out})


class GoBuild(Step):
    """Binaries, files and folders from one Go module."""

    kind: Literal["go"]
    id: Name
    module: str
    version: str
    own_module: str = ""
    """Folder under ``catalog/gomod`` with the ``go.mod`` and ``go.sum`` to build
    by. Empty: the build runs in the module's own folder, by its own ``go.sum``."""
    packages: Mapping[Name, str] = {}
    """Output by name: package path. With ``own_module`` an absolute one, else ``./…``."""
    tags: tuple[str, ...] = ()
    output_tags: Mapping[Name, tuple[str, ...]] = {}
    """Further build tags for single outputs."""
    ldflags: tuple[str, ...] = ()
    """Besides ``-s -w``."""
    flags: tuple[str, ...] = ()
    """Further flags of ``go build``."""
    experiments: tuple[str, ...] = ()
    """``GOEXPERIMENT``: what the toolchain shall do in another way than it does by itself."""
    cgo: bool = False
    debian_needs: tuple[str, ...] = ()
    """Debian packages that must be on the building machine."""
    files: Mapping[Name, str] = {}
    """Output by name: a file of the module."""
    trees: Mapping[Name, str] = {}
    """Output by name: a folder of the module."""
    charts: Mapping[Name, str] = {}
    """Output by name: a folder of the module that is a Helm chart, packed."""
    chart_files: Mapping[Name, Mapping[str, str]] = {}
    """What the release process adds to a chart, by output: path in the chart, file of the
    module. A ``Chart.yaml`` among them gets the module's version."""
    disk: int = Field(gt=0)
    """Free disk needed while building, in MiB (measured)."""
    memory: int = Field(gt=0)
    """Memory needed while building, in MiB (measured)."""
    minutes: float = Field(gt=0)
    """Wall time on two cores (measured), for the order and the progress only."""


class CBuild(Step):
    """One static binary from a C file of a Go module."""

    kind: Literal["c"]
    id: Name
    module: str
    version: str
    path: str
    output: Name
    flags: tuple[str, ...] = ()
    debian_needs: tuple[str, ...] = ("gcc", "libc6-dev")
    disk: int = 16
    memory: int = 64
    minutes: float = 0.1


class DebianBuild(Step):
    """A root file system, or single files of it, from Debian's own packages."""

    kind: Literal["debian"]
    id: Name
    suite: str
    packages: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    """Paths that dpkg does not unpack (patterns)."""
    remove: tuple[str, ...] = ()
    """Paths left out of ``tree`` (shell patterns; ``*`` matches ``/`` too)."""
    links: tuple[Link, ...] = ()
    tree: Name | None = None
    """Output that is the whole root file system."""
    files: Mapping[Name, str] = {}
    """Output by name: a file of the root file system."""
    debian_needs: tuple[str, ...] = ("mmdebstrap",)
    disk: int = Field(gt=0)
    memory: int = 256
    minutes: float = Field(gt=0)


class PythonBuild(Step):
    """A Python environment: wheels from PyPI around Debian's interpreter."""

    kind: Literal["python"]
    id: Name
    lock: str
    """File under ``catalog/python``, without ``.txt``: every package with its version and the
    SHA-256 of its wheel for each architecture, as pip's requirement files have it."""
    python: str = Field(pattern=r"^3\.[0-9]+$")
    """Minor version of the image's own interpreter, ``/usr/bin/python3``."""
    prefix: str = Field(pattern=r"^/")
    """Folder of the image that the environment is for; its scripts name the interpreter in it."""
    tree: Name
    """Output that is the whole environment."""
    debian_needs: tuple[str, ...] = ()
    disk: int = Field(gt=0)
    memory: int = 256
    minutes: float = Field(gt=0)


class NpmBuild(Step):
    """Packages from the npm registry, with all that they need."""

    kind: Literal["npm"]
    id: Name
    lock: str
    """Folder under ``catalog/npm`` that has ``package.json`` and ``package-lock.json``."""
    tree: Name
    """Output that is a folder with ``node_modules``."""
    debian_needs: tuple[str, ...] = ("npm",)
    disk: int = Field(gt=0)
    memory: int = 512
    minutes: float = Field(gt=0)


class Preparation(Model):
    """A command that makes unpacked files ready, run in a root file system that is not kept."""

    suite: str
    packages: tuple[str, ...]
    """Debian packages that it needs."""
    folder: str = Field(pattern=r"^/[A-Za-z0-9/._-]+$")
    """Where the files lie while it runs, and in the image: it may note the path."""
    command: tuple[str, ...] = Field(min_length=1)


class ArchiveBuild(Step):
    """The files of one published archive, a ``.zip`` or ``.tar.gz``."""

    kind: Literal["archive"]
    id: Name
    download: Name
    """One of the component's downloads; the release has its checksum."""
    maven: str = Field(pattern=r"^[^:]+:[^:]+$")
    """``GROUP:ARTIFACT``, as Maven names it; its version is the component's."""
    strip: int = 0
    """Folders to leave out at the beginning of every path."""
    prepare: Preparation | None = None
    remove: tuple[str, ...] = ()
    """Paths left out in the end (shell patterns; ``*`` matches ``/`` too)."""
    tree: Name
    """Output that is the unpacked folder."""
    debian_needs: tuple[str, ...] = ("mmdebstrap",)
    disk: int = Field(gt=0)
    memory: int = 256
    minutes: float = Field(gt=0)


AnyBuild = GoBuild | CBuild | DebianBuild | PythonBuild | NpmBuild | ArchiveBuild
Build = Annotated[AnyBuild, Field(discriminator="kind")]


class Release(Model):
    """One version of a component: what differs from release to release."""

    version: str
    kubernetes: tuple[str, ...] = ()
    """Kubernetes minors (``"1.36"``) it goes with; empty: any."""
    values: Mapping[str, str] = {}
    """Values of the component's own placeholders."""
    buildable: bool = True
    """The component's builds make it; a release that is not is only downloaded."""
    modules: Mapping[str, str] = {}
    """``h1:`` checksum by ``module@version``, as the Go checksum database has it."""
    sha256: Mapping[Name, Mapping[Architecture, Sha256]] = {}
    """Published checksum by download and architecture."""
    checksums_from: str = ""
    """Where the published checksums stand."""
    digests: Mapping[str, Digest] = {}
    """Published digest by image reference (with placeholders filled)."""


class Component(Model):
    """Everything the catalog says of one component."""

    name: Name
    about: str
    home: str
    license: str
    optional: bool = False
    """A source that has no release of it leaves it out; sites that want it take the other."""
    on_request: bool = False
    """Only in a bundle that is built with it by name: it takes long, and few sites want it."""
    downloads: Mapping[Name, str] = {}
    """Published files: URL by name."""
    files: tuple[FileSpec, ...] = ()
    images: tuple[ImageSpec, ...] = ()
    builds: tuple[Build, ...] = ()
    releases: tuple[Release, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _references_exist(self) -> Component:
        builds = {build.id: outputs_of(build) for build in self.builds}
        used: list[FromBuild] = [file.source for file in self.files if file.source]
        for image in self.images:
            if image.source is not None:
                used += image.source.contents
                used += [image.source.base] if image.source.base else []
        for wanted in used:
            if wanted.output not in builds.get(wanted.build, ()):
                raise ValueError(f"no build {wanted.build!r} has an output {wanted.output!r}")
        downloads = [file.upstream.download for file in self.files if file.upstream is not None]
        downloads += [one.download for one in self.builds if isinstance(one, ArchiveBuild)]
        for name in downloads:
            if name not in self.downloads:
                raise ValueError(f"no download {name!r}")
        return self


def outputs_of(build: AnyBuild) -> tuple[str, ...]:
    """Names of what a build makes."""
    match build:
        case GoBuild():
            return (*build.packages, *build.files, *build.trees, *build.charts)
        case CBuild():
            return (build.output,)
        case DebianBuild():
            return ((build.tree,) if build.tree else ()) + tuple(build.files)
        case PythonBuild() | NpmBuild() | ArchiveBuild():
            return (build.tree,)


class Selected(Model):
    """One component at one version, placeholders filled for one architecture."""

    component: Name
    version: str
    about: str
    home: str
    license: str
    architecture: Architecture
    downloads: Mapping[Name, str]
    files: tuple[FileSpec, ...]
    images: tuple[ImageSpec, ...]
    builds: tuple[Build, ...]
    modules: Mapping[str, str]
    sha256: Mapping[Name, Sha256]
    """Published checksum by download, for this architecture."""
    checksums_from: str
    digests: Mapping[str, Digest]

    @property
    def unpublished(self) -> tuple[str, ...]:
        """Downloads and images whose published checksum the catalog does not have.

        A file that nothing published holds counts under its own name.
        """
        wanted = [file.upstream.download if file.upstream else file.name for file in self.files]
        files = [name for name in dict.fromkeys(wanted) if name not in self.sha256]
        files += [
            file.upstream.module
            for file in self.files
            if isinstance(file.upstream, FromModule) and file.upstream.module not in self.modules
        ]
        images = [image.reference for image in self.images if image.upstream]
        return (*files, *(name for name in images if name not in self.digests))


class Selection(Model):
    """One release of every component, for one Kubernetes version and architecture."""

    kubernetes: str
    architecture: Architecture
    components: tuple[Selected, ...]
    chosen: Mapping[str, str] = {}
    """Version by component, of those that were asked for."""
    requested: tuple[str, ...] = ()
    """Those among them that are only there on request."""

    def without(self, names: Collection[str]) -> Selection:
        """The same without the components called ``names``."""
        kept = tuple(one for one in self.components if one.component not in names)
        return self.model_copy(update={"components": kept})

    def with_component(self, component: Selected) -> Selection:
        """The same with one more component, which is none of the catalog."""
        return self.model_copy(update={"components": (*self.components, component)})

    @property
    def versions(self) -> dict[str, str]:
        """Version by component."""
        return {chosen.component: chosen.version for chosen in self.components}


class Catalog(Model):
    """All components."""

    components: tuple[Component, ...]

    @classmethod
    def load(cls, folder: Path = _FOLDER) -> Catalog:
        """Read every component file in ``folder``.

        Raises
        ------
        BundleError
            A file is not YAML, or not a component as described here.
        """
        return cls(components=tuple(_component(path) for path in sorted(folder.glob("*.yaml"))))

    def component(self, name: str) -> Component:
        """The component called ``name``.

        Raises
        ------
        BundleError
            There is none.
        """
        for component in self.components:
            if component.name == name:
                return component
        raise BundleError(
            "the catalog has no such component",
            found=name,
            wanted=", ".join(component.name for component in self.components),
        )

    def kubernetes_versions(self) -> tuple[str, ...]:
        """Versions of Kubernetes, oldest first."""
        releases = self.component("kubernetes").releases
        return tuple(sorted((release.version for release in releases), key=version_key))

    def obtainable(self, architecture: Architecture, source: SourceKind) -> tuple[str, ...]:
        """Versions of Kubernetes that ``source`` has with all that goes with them, oldest first."""
        return tuple(
            version
            for version in self.kubernetes_versions()
            if all(
                one.optional or one.on_request or _releases(one, version, architecture, source)
                for one in self.components
            )
        )

    def versions(
        self, kubernetes: str, architecture: Architecture, source: SourceKind
    ) -> Mapping[str, tuple[str, ...]]:
        """Versions of each component that ``source`` has for ``kubernetes``, oldest first.

        Raises
        ------
        BundleError
            The catalog does not have this Kubernetes version.
        """
        self._require_known(kubernetes)
        return {
            one.name: tuple(
                sorted(
                    (
                        release.version
                        for release in _releases(one, kubernetes, architecture, source)
                    ),
                    key=version_key,
                )
            )
            for one in self.components
        }

    def on_request(self) -> tuple[str, ...]:
        """Names of the components that a bundle has only where it is built with them."""
        return tuple(one.name for one in self.components if one.on_request)

    def refuse_unknown(self, requested: Iterable[str], where: str = "") -> None:
        """Refuse names that are no components on request; ``where`` is where they stand.

        Raises
        ------
        BundleError
            Some are not; the error lists those that there are.
        """
        unknown = sorted(set(requested) - set(self.on_request()))
        if unknown:
            raise BundleError(
                "the catalog has no component of this name that is built on request",
                where=where,
                found=", ".join(unknown),
                wanted=", ".join(self.on_request()),
                fix="provision bundle list shows what can be had",
            )

    def select(
        self,
        kubernetes: str,
        architecture: Architecture,
        source: SourceKind = "source",
        *,
        versions: Mapping[str, str] = MappingProxyType({}),
        requested: Collection[str] = (),
    ) -> Selection:
        """One release of every component that goes with ``kubernetes``: the newest.

        Parameters
        ----------
        source
            Only releases that it has: those that can be built, or those whose
            published checksums the catalog holds.
        versions
            Version by component, of those that shall not be the newest.
        requested
            Components on request that shall be among them.

        Raises
        ------
        BundleError
            The catalog does not have this Kubernetes version, or ``source``
            does not have it, or no release of a component that goes with it,
            or not the one that is asked for.
            Or what is requested is no component on request.
        """
        self.refuse_unknown(requested)
        for name in versions:
            self.component(name)
        self._require_known(kubernetes)
        chosen = []
        for component in self.components:
            if component.on_request and component.name not in requested:
                continue
            releases = _releases(component, kubernetes, architecture, source)
            if component.name in versions:
                releases = [_asked(component, releases, versions[component.name], source)]
            if not releases and component.optional:
                continue
            if not releases:
                raise self._not_obtainable(component, kubernetes, architecture, source)
            newest = max(releases, key=lambda release: version_key(release.version))
            chosen.append(_fill(component, newest, architecture))
        return Selection(
            kubernetes=kubernetes,
            architecture=architecture,
            components=tuple(chosen),
            chosen=versions,
            requested=tuple(sorted(requested)),
        )

    def _require_known(self, kubernetes: str) -> None:
        known = self.kubernetes_versions()
        if kubernetes not in known:
            raise BundleError(
                "the catalog does not have this Kubernetes version",
                found=kubernetes,
                wanted=", ".join(known),
                fix=f"choose one of them: provision bundle build --kubernetes {known[-1]}",
            )

    def _not_obtainable(
        self,
        component: Component,
        kubernetes: str,
        architecture: Architecture,
        source: SourceKind,
    ) -> BundleError:
        fitting = [one.version for one in component.releases if _fits(component, one, kubernetes)]
        versions = self.obtainable(architecture, source)
        lacks = {
            "source": f"no recipe builds {component.name} for Kubernetes {kubernetes}",
            "upstream": f"the catalog has no published checksums of {component.name}"
            f" for Kubernetes {kubernetes}",
        }
        other: SourceKind = "source" if source == "upstream" else "upstream"
        fixes = [f"--source {source} --kubernetes {version}" for version in versions[-1:]]
        if component.on_request:
            # Another Kubernetes is no help.
            return BundleError(
                f"{lacks[source]} ({architecture})",
                where=f"catalog/{component.name}.yaml",
                fix=f"provision bundle build --source {other} --with {component.name}",
            )
        if kubernetes in self.obtainable(architecture, other):
            fixes.insert(0, f"--source {other} --kubernetes {kubernetes}")
        return BundleError(
            f"{lacks[source]} ({architecture})",
            where=f"catalog/{component.name}.yaml",
            found=", ".join(fitting) or "no release for this Kubernetes minor",
            wanted=f"Kubernetes {', '.join(versions)}" if versions else "",
            fix=" or ".join(f"provision bundle build {fix}" for fix in fixes),
        )


@cache
def catalog() -> Catalog:
    """The catalog that the project ships."""
    return Catalog.load()


def default_kubernetes_version() -> str:
    """The Kubernetes version that a new site gets."""
    settings = yaml.safe_load((_FOLDER / "default" / "kubernetes.yaml").read_text())
    return str(settings["version"])


def version_key(version: str) -> tuple[int, ...]:
    """Sort key: the numbers of a version, in order."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def minor(version: str) -> str:
    """``1.36`` of ``1.36.3``."""
    return ".".join(version.split(".")[:2])


def _fits(component: Component, release: Release, kubernetes: str) -> bool:
    if component.name == "kubernetes":
        return release.version == kubernetes
    return not release.kubernetes or minor(kubernetes) in release.kubernetes


def _releases(
    component: Component, kubernetes: str, architecture: Architecture, source: SourceKind
) -> list[Release]:
    """Releases that go with ``kubernetes`` and that ``source`` has."""
    fitting = [one for one in component.releases if _fits(component, one, kubernetes)]
    if source == "source":
        return [release for release in fitting if release.buildable]
    return [one for one in fitting if not _fill(component, one, architecture).unpublished]


def _asked(
    component: Component, releases: list[Release], version: str, source: SourceKind
) -> Release:
    """The one of ``releases`` that is asked for."""
    for release in releases:
        if release.version == version:
            return release
    there = [f"{component.name}={release.version}" for release in releases]
    raise BundleError(
        f"the source {source} does not have this version of {component.name}",
        where=f"catalog/{component.name}.yaml",
        found=version,
        wanted=", ".join(release.version for release in releases) or "another source",
        fix=f"provision bundle build --source {source} --component {there[-1]}" if there else "",
    )


def _fill(component: Component, release: Release, architecture: Architecture) -> Selected:
    values = {
        "version": release.version,
        "architecture": architecture,
        # The triplet in Debian's library folders.
        "triplet": {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[architecture],
        **release.values,
    }
    return Selected(
        component=component.name,
        version=release.version,
        about=component.about,
        home=component.home,
        license=component.license,
        architecture=architecture,
        modules=release.modules,
        sha256={
            name: by_architecture[architecture]
            for name, by_architecture in release.sha256.items()
            if architecture in by_architecture
        },
        checksums_from=_filled(release.checksums_from, values),
        digests=release.digests,
        **_filled(component.model_dump(include={"downloads", "files", "images", "builds"}), values),
    )


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    """``value`` with ``{name}`` replaced in every string."""
    if isinstance(value, str):
        return re.sub(r"\{([a-z_]+)\}", lambda match: values[match[1]], value)
    if isinstance(value, Mapping):
        return {_filled(key, values): _filled(item, values) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_filled(item, values) for item in value)
    return value


def _component(path: Path) -> Component:
    try:
        return Component.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError) as error:
        raise BundleError(
            "this catalog file cannot be used", where=str(path), found=str(error)
        ) from error
