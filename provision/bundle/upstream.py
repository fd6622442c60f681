"""The source ``upstream``: published files by checksum, published images by digest."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from provision.bundle.authorities import require_certificates, with_system_authorities
from provision.bundle.cancellation import Cancellation
from provision.bundle.catalog import FileSpec, FromModule, Selected, Selection, catalog
from provision.bundle.download import MIB, Downloads
from provision.bundle.images import Images, PlatformImage, StoredImage
from provision.bundle.jobs import Job, run_jobs
from provision.bundle.mirrors import Mirrors
from provision.bundle.modulezip import pack_chart, require_sum
from provision.bundle.progress import Outcome, Progress, Silent, Step
from provision.bundle.results import Output, Result, Results, recipe_key
from provision.bundle.skopeo import Skopeo
from provision.bundle.sources import Provided, ProvidedFile, ProvidedImage, SourceKind
from provision.bundle.store import Blob, BlobStore, require_space
from provision.bundle.transfer import Download, HttpSettings
from provision.bundle.unpack import unpack
from provision.errors import BundleError

UNPACKED = 4
"""How much larger than its ``.tar.gz`` a Go binary may be (containerd 2.4: 3.1)."""


@dataclass(frozen=True)
class UpstreamOptions:
    """What a site may set.

    Parameters
    ----------
    mirrors
        Copies of its own to read from.
    http
        Patience, and the authorities to believe.
    """

    mirrors: Mirrors = field(default_factory=Mirrors)
    http: HttpSettings = field(default_factory=HttpSettings)

    @classmethod
    def parse(cls, mirrors: Iterable[str], ca_bundle: Path | None = None) -> UpstreamOptions:
        """Options from the command line's ``--mirror`` and ``--ca-bundle``.

        Raises
        ------
        UsageError
            A mirror is not ``FROM=TO``.
        ConfigError
            The certificate file cannot be used.
        """
        if ca_bundle is not None:
            require_certificates(ca_bundle)
        return cls(Mirrors.parse(mirrors), replace(HttpSettings(), ca_bundle=ca_bundle))


@dataclass(frozen=True)
class _Wanted:
    """A download, and the files of the bundle that come out of it."""

    component: Selected
    download: Download
    url: str
    """The published address, whatever copy is read."""
    files: tuple[FileSpec, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """What is taken out of it; empty for a download that is the file itself."""
        return tuple(_part(file) for file in self.files if _part(file))

    @property
    def key(self) -> str:
        """Names the result of taking ``parts`` out."""
        return recipe_key(
            kind="upstream-archive", sha256=self.download.sha256, members=sorted(self.parts)
        )


class UpstreamSource:
    """Fills a bundle with what others published.

    Parameters
    ----------
    cache
        The cache folder; what an interrupted run left in it is used.
    store
        Where all bytes go.
    options
        Mirrors and patience.
    """

    def __init__(
        self, cache: Path, store: BlobStore, options: UpstreamOptions | None = None
    ) -> None:
        self.options = options or UpstreamOptions()
        self.store = store
        self.work = cache / "upstream"
        self.cancelled = Cancellation()
        http = self.options.http
        if http.ca_bundle is not None:
            http = replace(http, ca_bundle=with_system_authorities(http.ca_bundle, self.work))
        self.downloads = Downloads(store, self.work / "partial", http, self.cancelled)
        self.results = Results(cache / "steps", store)
        skopeo = Skopeo(http, self.cancelled)
        self.images = Images(store, self.results, self.work / "images", skopeo)

    @property
    def kind(self) -> SourceKind:
        """Its name on the command line."""
        return "upstream"

    def require(self, selection: Selection) -> None:
        """Refuse early what cannot be completed.

        Raises
        ------
        BundleError
            The catalog lacks a published checksum, or skopeo is not installed.
        """
        for component in selection.components:
            if component.unpublished:
                raise _unpublished(component, selection)
        if shutil.which("skopeo") is None:
            raise BundleError(
                "skopeo is not installed",
                wanted="the command skopeo, which copies images from registries",
                fix="apt-get install skopeo",
            )

    def provide(self, selection: Selection, progress: Progress) -> Mapping[str, Provided]:
        """Read everything of ``selection`` that is not in the store yet.

        Raises
        ------
        OperatorError
            Something cannot be read or is not what was published; what
            arrived is kept.
        """
        wanted = [one for component in selection.components for one in self._wanted(component)]
        published = [
            (component, image.reference)
            for component in selection.components
            for image in component.images
            if image.upstream
        ]
        names = [one.download.name for one in wanted] + [name for _, name in published]
        progress.planned(tuple(Step(name, 0) for name in names))
        self.images.clean()
        found = self._find_images(published)
        self._require_space(wanted, found)
        files: dict[str, Blob] = {}
        images: dict[str, StoredImage] = {}
        run_jobs(
            [
                *(Job(one.download.name, self._file_job(one, files, progress)) for one in wanted),
                *(
                    Job(name, self._image_job(component, name, found, images, progress))
                    for component, name in published
                ),
            ],
            progress,
            self.cancelled,
        )
        if self.work.exists():
            shutil.rmtree(self.work)
        return {
            component.component: _provided(
                component, [one for one in wanted if one.component is component], files, images
            )
            for component in selection.components
        }

    def _wanted(self, component: Selected) -> list[_Wanted]:
        by_download: dict[str, list[FileSpec]] = {}
        for file in component.files:
            if file.upstream is not None:
                by_download.setdefault(file.upstream.download, []).append(file)
        wanted = []
        for name, files in by_download.items():
            url = component.downloads[name]
            download = Download(
                f"{component.component}/{name}",
                self.options.mirrors.url(url),
                component.sha256[name],
            )
            wanted.append(_Wanted(component, download, url, tuple(files)))
        return wanted

    def _find_images(self, published: list[tuple[Selected, str]]) -> dict[str, PlatformImage]:
        """What the registries have of the images that are not in the store."""
        found: dict[str, PlatformImage] = {}

        def find(component: Selected, reference: str) -> Outcome:
            digest = component.digests[reference]
            if self.images.held(digest, component.architecture) is None:
                address = self.options.mirrors.image(reference, digest)
                found[reference] = self.images.find(address, component.architecture)
            return "kept"

        def finding(component: Selected, reference: str) -> Job:
            return Job(reference, lambda: find(component, reference))

        run_jobs([finding(*one) for one in published], Silent(), self.cancelled)
        return found

    def _require_space(self, wanted: list[_Wanted], found: Mapping[str, PlatformImage]) -> None:
        missing = [one for one in wanted if self._unpacked(one) is None]
        archives = [one.download for one in missing if one.parts]
        plain = [one.download for one in missing if not one.parts]
        blobs = {sha256: size for image in found.values() for sha256, size in image.blobs.items()}
        needed = (
            self.downloads.missing_bytes(plain)
            + self.downloads.missing_bytes(archives) * (1 + UNPACKED)
            + sum(blobs.values())
        )
        require_space(self.store.folder, needed, "the published files and images")

    def _file_job(
        self, wanted: _Wanted, files: dict[str, Blob], progress: Progress
    ) -> Callable[[], Outcome]:
        def work() -> Outcome:
            if (kept := self._unpacked(wanted)) is not None:
                files.update(kept)
                return "kept"
            blob, outcome = self.downloads.fetch(wanted.download, progress)
            if wanted.parts:
                files.update(self._unpack(wanted))
            for file in wanted.files:
                if not _part(file):
                    files[file.name] = blob
            return outcome

        return work

    def _unpacked(self, wanted: _Wanted) -> dict[str, Blob] | None:
        """The parts of an archive, if an earlier run took them out."""
        if not wanted.parts or len(wanted.parts) < len(wanted.files):
            return None
        result = self.results.read(wanted.key)
        if result is None:
            return None
        return {file.name: result.outputs[_part(file)].blob for file in wanted.files}

    def _unpack(self, wanted: _Wanted) -> dict[str, Blob]:
        archive = self.store.path(wanted.download.sha256)
        charts = [one.upstream for one in wanted.files if isinstance(one.upstream, FromModule)]
        blobs = {}
        for chart in charts:
            require_sum(archive, chart.module, wanted.component.modules[chart.module])
            blobs[chart.part] = pack_chart(archive, chart.part, self.store)
        members = set(wanted.parts) - set(blobs)
        if members:
            blobs |= unpack(archive, members, self.store)
        outputs = {part: Output(sha256=blob.sha256, size=blob.size) for part, blob in blobs.items()}
        self.results.write(wanted.key, Result(outputs=outputs))
        return {file.name: blobs[_part(file)] for file in wanted.files if _part(file)}

    def _image_job(
        self,
        component: Selected,
        reference: str,
        found: Mapping[str, PlatformImage],
        images: dict[str, StoredImage],
        progress: Progress,
    ) -> Callable[[], Outcome]:
        digest, architecture = component.digests[reference], component.architecture

        def work() -> Outcome:
            if held := self.images.held(digest, architecture):
                images[reference] = held
                return "kept"
            image = found[reference]
            total = -(-sum(image.blobs.values()) // MIB)

            def arrived(size: int) -> None:
                progress.detail(reference, f"{size // MIB} of {total} MiB")

            images[reference] = self.images.copy(image, digest, architecture, arrived)
            return "downloaded"

        return work


def _part(file: FileSpec) -> str:
    return file.upstream.part if file.upstream else ""


def _provided(
    component: Selected,
    wanted: list[_Wanted],
    files: Mapping[str, Blob],
    images: Mapping[str, StoredImage],
) -> Provided:
    return Provided(
        files=tuple(
            ProvidedFile(
                component=component.component,
                version=component.version,
                name=file.name,
                kind=file.kind,
                any_architecture=file.any_architecture,
                sha256=files[file.name].sha256,
                size=files[file.name].size,
                origin=one.url,
            )
            for one in wanted
            for file in one.files
        ),
        images=tuple(
            ProvidedImage(
                component=component.component,
                version=component.version,
                reference=image.reference,
                manifest_sha256=images[image.reference].manifest.sha256,
                manifest_size=images[image.reference].manifest.size,
                media_type=images[image.reference].media_type,
                blobs=images[image.reference].blobs,
                origin=f"{image.reference}@{component.digests[image.reference]}",
            )
            for image in component.images
            if image.upstream
        ),
    )


def _unpublished(component: Selected, selection: Selection) -> BundleError:
    versions = catalog().obtainable(selection.architecture, "upstream")
    return BundleError(
        f"the catalog has no published checksum for parts of {component.component}"
        f" {component.version}",
        where=f"catalog/{component.component}.yaml",
        found=", ".join(component.unpublished),
        wanted=f"Kubernetes {', '.join(versions)}",
        fix=f"provision bundle build --source upstream --kubernetes {versions[-1]}"
        if versions
        else "provision bundle build --source source",
    )
