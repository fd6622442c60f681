"""The source ``source``: everything built here, from what package registries have."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from provision.bundle.catalog import (
    AnyBuild,
    Architecture,
    ArchiveBuild,
    CBuild,
    DebianBuild,
    FileSpec,
    GoBuild,
    ImageSpec,
    NpmBuild,
    PythonBuild,
    Selected,
    Selection,
)
from provision.bundle.debian import DebianWorkshop, headers_of, programs_of
from provision.bundle.gomodules import Detail, GoWorkshop
from provision.bundle.npm import NpmWorkshop
from provision.bundle.oci import add_image, add_layer, add_tree_layer, image_members
from provision.bundle.progress import Progress, Step
from provision.bundle.published import ArchiveWorkshop
from provision.bundle.results import Ingredient, Output, Result, Results, recipe_key
from provision.bundle.sources import Provided, ProvidedFile, ProvidedImage, SourceKind
from provision.bundle.store import Blob, BlobStore, require_space
from provision.bundle.toolchain import (
    Toolchain,
    ensure_toolchain,
    free_memory,
    go_pin,
    machine_architecture,
    require_programs,
)
from provision.bundle.wheels import PythonWorkshop
from provision.errors import BundleError, OperatorError

MODULES_DISK = 6000
"""Room that the Go module cache takes when everything is built, in MiB (measured)."""
BUNDLE_DISK = 2500
"""Room that the finished blobs take, in MiB (measured)."""


@dataclass(frozen=True)
class _Task:
    """One build of one component."""

    component: Selected
    build: AnyBuild
    key: str

    @property
    def name(self) -> str:
        return f"{self.component.component}/{self.build.id}"


class SourceSource:
    """Builds what a selection names.

    Parameters
    ----------
    cache
        The project's cache folder.
    store, results
        Where finished bytes, and what they are, are kept.
    jobs
        Builds at the same time, when memory allows.
    toolchain
        Gets Go, given the folder to keep it in.
    """

    kind: SourceKind = "source"

    def __init__(
        self,
        cache: Path,
        store: BlobStore,
        results: Results,
        jobs: int = 2,
        toolchain: Callable[[Path], Toolchain] = ensure_toolchain,
    ) -> None:
        self.cache = cache
        self.store = store
        self.results = results
        self.jobs = jobs
        self.toolchain = toolchain

    def require(self, selection: Selection) -> None:
        """Refuse another architecture, missing programs and a disk too small.

        Raises
        ------
        OperatorError
            One of them is so; the error says how to put it right.
        """
        here = machine_architecture()
        if selection.architecture != here:
            raise BundleError(
                "a build from source makes this machine's architecture only",
                found=f"this machine is {here}",
                wanted=selection.architecture,
                fix="build on such a machine and copy the bundle's folder, or --source upstream",
            )
        todo = [task for task in self._tasks(selection) if self.results.read(task.key) is None]
        needs = tuple(package for task in todo for package in task.build.debian_needs)
        require_programs(programs_of(needs))
        triplet = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[here]
        missing = headers_of(needs, triplet)
        if missing:
            raise BundleError(
                "libraries that the build needs are not installed",
                found=f"missing: {', '.join(missing)}",
                fix=f"apt-get install --no-install-recommends {' '.join(missing)}",
            )
        require_space(self.cache, self.disk(todo), "building the bundle")

    def disk(self, todo: list[_Task]) -> int:
        """Bytes needed to build ``todo``: the largest at once, modules, and what they leave."""
        if not todo:
            return 0
        largest = sorted((task.build.disk for task in todo), reverse=True)[: self.jobs]
        modules = MODULES_DISK if any(isinstance(task.build, GoBuild) for task in todo) else 0
        return (sum(largest) + modules + BUNDLE_DISK) << 20

    def provide(self, selection: Selection, progress: Progress) -> Mapping[str, Provided]:
        """Build everything, several at a time, longest first.

        Raises
        ------
        OperatorError
            A build failed; the others were brought to their end, and kept.
        """
        tasks = self._tasks(selection)
        progress.planned(tuple(Step(task.name, task.build.minutes) for task in tasks))
        made = self._run(tasks, progress)
        return {
            component.component: self._assemble(
                component,
                {task.build.id: made[task.key] for task in tasks if task.component is component},
                {task.build.id: task.key for task in tasks if task.component is component},
            )
            for component in selection.components
        }

    def _tasks(self, selection: Selection) -> list[_Task]:
        # Only the version counts for a key, so nothing is fetched to know it.
        shops = _Workshops(self, selection.architecture, Toolchain(go_pin().version, Path()))
        tasks = [
            _Task(component, build, shops.key(build, component))
            for component in selection.components
            for build in component.builds
        ]
        return sorted(tasks, key=lambda task: -task.build.minutes)

    def _run(self, tasks: list[_Task], progress: Progress) -> dict[str, Result]:
        """Result of every task by its key."""
        made: dict[str, Result] = {}
        todo: dict[str, _Task] = {}
        twins = []
        for task in tasks:
            kept = self.results.read(task.key)
            if kept is None and task.key in todo:
                # Another component has the very same recipe.
                twins.append(task)
            elif kept is None:
                todo[task.key] = task
            else:
                made[task.key] = kept
                progress.finished(task.name, "kept", 0)
        if not todo:
            return made
        toolchain = self.toolchain(self.cache / "go")
        memory = _Memory()
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = {
                key: pool.submit(self._build, task, toolchain, memory, progress)
                for key, task in todo.items()
            }
            try:
                wait(futures.values())
            except BaseException:
                # Interrupted: what runs gets the terminal's signal too, the rest must not begin.
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        # All have ended here, so that one that failed does not waste the others' work.
        failures = [future.exception() for future in futures.values()]
        operators = [one for one in failures if isinstance(one, OperatorError)]
        if operators:
            # The first is told in full, of the others where and what.
            operators[0].also += tuple(f"{one.where}: {one.what}" for one in operators[1:])
        made.update({key: future.result() for key, future in futures.items()})
        for task in twins:
            progress.finished(task.name, "kept", 0)
        return made

    def _build(
        self, task: _Task, toolchain: Toolchain, memory: _Memory, progress: Progress
    ) -> Result:
        def detail(text: str) -> None:
            progress.detail(task.name, text)

        memory.take(task.build.memory, detail)
        begin = time.monotonic()
        progress.started(task.name)
        try:
            shops = _Workshops(self, task.component.architecture, toolchain)
            result = shops.make(task, detail)
        except BaseException as error:
            if isinstance(error, OperatorError):
                error.where = f"{task.name} ({error.where})"
            progress.finished(task.name, "failed", time.monotonic() - begin)
            raise
        finally:
            memory.give(task.build.memory)
        seconds = round(time.monotonic() - begin, 1)
        result = result.model_copy(update={"seconds": seconds})
        self.results.write(task.key, result)
        progress.finished(task.name, "built", seconds)
        return result

    def _assemble(
        self, component: Selected, made: Mapping[str, Result], keys: Mapping[str, str]
    ) -> Provided:
        """Files and images of one component, from what its builds made."""
        outputs = {
            (build, name): output
            for build, result in made.items()
            for name, output in result.outputs.items()
        }
        return Provided(
            files=tuple(
                self._file(component, file, made) for file in component.files if file.source
            ),
            images=tuple(
                self._image(component, image, made, outputs, keys)
                for image in component.images
                if image.source
            ),
        )

    def _file(
        self, component: Selected, file: FileSpec, made: Mapping[str, Result]
    ) -> ProvidedFile:
        if file.source is None:
            raise TypeError(file.name)
        result = made[file.source.build]
        output = result.outputs[file.source.output]
        return ProvidedFile(
            component=component.component,
            version=component.version,
            name=file.name,
            kind=file.kind,
            any_architecture=file.any_architecture,
            sha256=output.sha256,
            size=output.size,
            origin=_origin(component, file.source.build),
            ingredients=result.ingredients.get(file.source.output, ()),
        )

    def _image(
        self,
        component: Selected,
        image: ImageSpec,
        made: Mapping[str, Result],
        outputs: Mapping[tuple[str, str], Output],
        keys: Mapping[str, str],
    ) -> ProvidedImage:
        build = image.source
        if build is None:
            raise TypeError(image.reference)
        used = [(one.build, one.output) for one in (*build.contents, build.base) if one]
        # What is newer than the recipes that have none of it counts only where it is used.
        unused = {"texts"} if not build.texts else set()
        key = recipe_key(
            recipe=1,
            image=build.model_dump(mode="json", exclude=unused),
            architecture=component.architecture,
            inputs=[outputs[one].sha256 for one in used],
        )
        result = self.results.read(key)
        if result is None:
            layers = []
            if build.base is not None:
                layers.append(
                    add_tree_layer(self.store, outputs[build.base.build, build.base.output])
                )
            layers.append(add_layer(self.store, image_members(build, outputs, self.store)))
            manifest = add_image(self.store, build, component.architecture, tuple(layers))
            result = _image_result(self.store, manifest.blob)
            self.results.write(key, result)
        ingredients = {
            one for build_id, name in used for one in made[build_id].ingredients.get(name, ())
        }
        manifest_output = result.outputs["manifest"]
        return ProvidedImage(
            component=component.component,
            version=component.version,
            reference=image.reference,
            manifest_sha256=manifest_output.sha256,
            manifest_size=manifest_output.size,
            media_type="application/vnd.oci.image.manifest.v1+json",
            blobs={
                output.sha256: output.size
                for name, output in result.outputs.items()
                if name != "manifest"
            },
            origin=", ".join(dict.fromkeys(_origin(component, one) for one, _ in used)),
            ingredients=tuple(sorted(ingredients, key=_ingredient_order)),
        )


class _Workshops:
    """Where each kind of build is made."""

    def __init__(
        self, source: SourceSource, architecture: Architecture, toolchain: Toolchain
    ) -> None:
        cache, store = source.cache, source.store
        self._go = GoWorkshop(toolchain, cache / "go", store, architecture)
        self._debian = DebianWorkshop(cache / "debian", store, architecture)
        self._python = PythonWorkshop(cache / "python", store, architecture)
        self._npm = NpmWorkshop(cache / "npm", store, architecture)
        self._archive = ArchiveWorkshop(cache / "published", store, architecture)

    def key(self, build: AnyBuild, component: Selected) -> str:
        """Digest of the recipe of ``build``."""
        match build:
            case GoBuild():
                return self._go.go_key(build, component.modules)
            case CBuild():
                return self._go.c_key(build, component.modules)
            case DebianBuild():
                return self._debian.key(build)
            case PythonBuild():
                return self._python.key(build)
            case NpmBuild():
                return self._npm.key(build)
            case ArchiveBuild():
                return self._archive.key(build, component)

    def make(self, task: _Task, detail: Detail) -> Result:
        """Do ``task``."""
        match task.build:
            case GoBuild() as build:
                return self._go.build_go(build, task.component.modules, task.key, detail)
            case CBuild() as build:
                return self._go.build_c(build, task.component.modules, task.key)
            case DebianBuild() as build:
                return self._debian.build(build, task.key)
            case PythonBuild() as build:
                return self._python.build(build)
            case NpmBuild() as build:
                return self._npm.build(build)
            case ArchiveBuild() as build:
                return self._archive.build(build, task.component)


class _Memory:
    """Lets a build begin only when there is memory for it, one always."""

    def __init__(self, free: Callable[[], int] = free_memory) -> None:
        self._free = free
        self._taken: list[int] = []
        self._changed = threading.Condition()

    def take(self, needed: int, detail: Detail) -> None:
        """Wait until ``needed`` MiB are there, or nothing else runs."""
        with self._changed:
            if self._taken and self._free() < needed:
                detail("waits for memory")
            # Woken by the end of another build, which is what frees memory.
            while self._taken and self._free() < needed:
                self._changed.wait()
            self._taken.append(needed)

    def give(self, needed: int) -> None:
        """Say that a build ended."""
        with self._changed:
            self._taken.remove(needed)
            self._changed.notify_all()


def _image_result(store: BlobStore, manifest: Blob) -> Result:
    """A result that names a manifest and all it refers to."""
    document = json.loads(store.path(manifest.sha256).read_bytes())
    outputs = {"manifest": Output(sha256=manifest.sha256, size=manifest.size)}
    for number, part in enumerate((document["config"], *document["layers"])):
        outputs[str(number)] = Output(
            sha256=part["digest"].removeprefix("sha256:"), size=part["size"]
        )
    return Result(outputs=outputs)


def _origin(component: Selected, build_id: str) -> str:
    build = next(one for one in component.builds if one.id == build_id)
    match build:
        case GoBuild() | CBuild():
            return f"{build.module}@{build.version}"
        case DebianBuild():
            return f"debian {build.suite}: {' '.join(build.packages)}"
        case PythonBuild():
            return f"pypi: {build.lock}"
        case NpmBuild():
            return f"npm: {build.lock}"
        case ArchiveBuild():
            return component.downloads[build.download]


def _ingredient_order(one: Ingredient) -> tuple[str, str, str]:
    return (one.kind, one.name, one.version)


def default_jobs() -> int:
    """Builds at a time: what the cores can use, two at most links and compiles overlap."""
    return max(1, min(2, os.cpu_count() or 1))


def drop_work(cache: Path) -> None:
    """Remove what builds need and a finished bundle does not: build caches and sources."""
    go = cache / "go"
    for path in (go / "work", go / "mod", *go.glob("std-*")):
        if path.exists():
            _make_writable(path)
            shutil.rmtree(path)
    # Left by builds that were killed.
    for path in (cache / "python", cache / "npm", cache / "published"):
        if path.exists():
            shutil.rmtree(path)


def _make_writable(folder: Path) -> None:
    # The module cache is written read-only.
    for name, _, _ in os.walk(folder):
        Path(name).chmod(0o755)
