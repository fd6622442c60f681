"""Binaries, files, folders and charts from Go modules.

A module is taken only when its checksum is the one that the catalog names
(that of the Go checksum database); what it depends on is held by a ``go.sum``:
the module's own, or one that lies in the catalog.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import yaml

from provision.bundle.archive import EPOCH, Member, tree_members, write_tar, write_tar_gz
from provision.bundle.catalog import Architecture, CBuild, GoBuild
from provision.bundle.results import Ingredient, Output, Result, recipe_key
from provision.bundle.store import BlobStore, write_atomically
from provision.bundle.toolchain import Toolchain, clean_environment
from provision.errors import BundleError

GOMOD = Path(__file__).parent / "catalog" / "gomod"
# Debug information is stripped anyway; not making it saves a tenth of the time and the cache.
_COMPILE = ("-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false", "-mod=readonly")

CHART = "Chart.yaml"
"""File that says what a chart is."""

Detail = Callable[[str], None]
"""Hears one short line on how far a step is."""

# The first step compiles the standard library, the others wait for it.
_standard_library = Lock()


@dataclass(frozen=True)
class GoWorkshop:
    """Where Go builds, and by what.

    Parameters
    ----------
    folder
        Holds the module cache, shared, and a build cache for each step, dropped with it.
    """

    toolchain: Toolchain
    folder: Path
    store: BlobStore
    architecture: Architecture

    @property
    def module_cache(self) -> Path:
        """GOMODCACHE."""
        return self.folder / "mod"

    def go_key(self, build: GoBuild, modules: Mapping[str, str]) -> str:
        """Digest of the recipe of a Go build."""
        lock = GOMOD / build.own_module
        # What is newer than the recipes that have none of it counts only where it is used.
        unused = {name for name in ("chart_files", "experiments") if not getattr(build, name)}
        return recipe_key(
            recipe=1,
            go=self.toolchain.version,
            architecture=self.architecture,
            build=build.recipe(*unused),
            checksum=_checksum(build, modules),
            flags=_COMPILE,
            lock=[(lock / name).read_text() for name in ("go.mod", "go.sum")]
            if build.own_module
            else [],
        )

    def c_key(self, build: CBuild, modules: Mapping[str, str]) -> str:
        """Digest of the recipe of a C build."""
        return recipe_key(
            recipe=1,
            architecture=self.architecture,
            build=build.recipe(),
            checksum=_checksum(build, modules),
        )

    def build_go(
        self, build: GoBuild, modules: Mapping[str, str], key: str, detail: Detail
    ) -> Result:
        """Make everything that ``build`` names.

        Raises
        ------
        BundleError
            A module cannot be had, its checksum is wrong, or it does not compile.
        """
        detail("fetching modules")
        module = self._module(build, modules)
        work = self.folder / "work" / key
        work.mkdir(parents=True, exist_ok=True)
        folder = module
        if build.own_module:
            folder = work / "module"
            folder.mkdir(exist_ok=True)
            for name in ("go.mod", "go.sum"):
                write_atomically(folder / name, (GOMOD / build.own_module / name).read_bytes())
        outputs: dict[str, Output] = {}
        ingredients = {}
        for name, binary in self._compile(build, folder, work, detail).items():
            ingredients[name] = self._ingredients(binary, build)
            outputs[name] = self._keep(binary, 0o755)
        for name, path in build.files.items():
            executable = (module / path).suffix == ".sh"
            outputs[name] = self._keep(module / path, 0o755 if executable else 0o644)
        for name, path in build.trees.items():
            with self.store.writer() as writer:
                write_tar(tree_members(module / path), writer)
            blob = writer.blob
            outputs[name] = Output(sha256=blob.sha256, size=blob.size, kind="tree")
        for name, path in build.charts.items():
            outputs[name] = self._chart(module / path, module, build, build.chart_files.get(name))
        shutil.rmtree(work)
        return Result(outputs=outputs, ingredients=ingredients)

    def build_c(self, build: CBuild, modules: Mapping[str, str], key: str) -> Result:
        """Compile one C file of a module into a static binary.

        Raises
        ------
        BundleError
            The module cannot be had, its checksum is wrong, or the file does not compile.
        """
        source = self._module(build, modules) / build.path
        work = self.folder / "work" / key
        work.mkdir(parents=True, exist_ok=True)
        binary = work / build.output
        arguments = [
            *("gcc", "-Os", "-Wall", "-Werror", "-static", "-s", "-Wl,--build-id=none"),
            *(f"-ffile-prefix-map={source.parent}=.", *build.flags),
            *("-o", str(binary), str(source)),
        ]
        environment = clean_environment(SOURCE_DATE_EPOCH=str(EPOCH))
        done = subprocess.run(
            arguments, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise _failed(build.id, arguments, done.stderr)
        output = self._keep(binary, 0o755)
        ingredient = Ingredient(
            kind="go",
            name=build.module,
            version=build.version,
            checksum=_checksum(build, modules),
        )
        shutil.rmtree(work)
        return Result(outputs={build.output: output}, ingredients={build.output: (ingredient,)})

    def drop_modules(self) -> None:
        """Remove the module cache; the finished outputs do not need it."""
        if self.module_cache.exists():
            self._go(["clean", "-modcache"], self.folder, {})

    def _module(self, build: GoBuild | CBuild, modules: Mapping[str, str]) -> Path:
        """Folder of the module's source, its checksum verified."""
        name = f"{build.module}@{build.version}"
        found = json.loads(self._go(["mod", "download", "-json", name], self.folder, {}))
        wanted = _checksum(build, modules)
        if found["Sum"] != wanted:
            raise BundleError(
                "a Go module's checksum is wrong; it was not used",
                where=name,
                found=found["Sum"],
                wanted=wanted,
                why="the module proxy served something else than what the catalog was written for",
            )
        return Path(found["Dir"])

    def _compile(self, build: GoBuild, folder: Path, work: Path, detail: Detail) -> dict[str, Path]:
        """Compile all packages; binary by output."""
        if not build.packages:
            return {}
        groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for name in build.packages:
            groups[(*build.tags, *build.output_tags.get(name, ()))].append(name)
        compiled = work / "cache"
        if not (build.cgo or build.experiments or compiled.exists()):
            detail("compiling Go's standard library")
            self._copy_standard_library(compiled)
        environment = {
            "GOCACHE": str(compiled),
            "GOTMPDIR": str(work),
            "CGO_ENABLED": "1" if build.cgo else "0",
            "GOARCH": self.architecture,
            "GOOS": "linux",
            "SOURCE_DATE_EPOCH": str(EPOCH),
            "GOEXPERIMENT": ",".join(build.experiments),
        }
        binaries = {}
        for number, (tags, names) in enumerate(groups.items()):
            target = work / f"bin{number}"
            target.mkdir(exist_ok=True)
            packages = [build.packages[name] for name in names]
            selection = [f"-tags={','.join(tags)}", "-mod=readonly"]
            listed = self._go(["list", "-deps", *selection, *packages], folder, environment)
            total = len(listed.splitlines())
            ldflags = " ".join(("-s", "-w", *build.ldflags))
            self._go(
                [
                    *("build", "-v", *_COMPILE, f"-tags={','.join(tags)}", *build.flags),
                    *(f"-ldflags={ldflags}", "-o", f"{target}/", *packages),
                ],
                folder,
                environment,
                _counter(total, detail),
            )
            for name, package in zip(names, packages, strict=True):
                binaries[name] = target / _executable(package, build.module)
        return binaries

    def _copy_standard_library(self, compiled: Path) -> None:
        """Begin a build cache with the standard library, compiled once for all steps."""
        shared = self.folder / f"std-{self.toolchain.version}-{self.architecture}"
        with _standard_library:
            if not shared.exists():
                partial = shared.with_suffix(".partial")
                environment = {
                    "GOCACHE": str(partial),
                    "CGO_ENABLED": "0",
                    "GOARCH": self.architecture,
                    "GOOS": "linux",
                }
                self._go(["build", *_COMPILE, "std"], self.folder, environment)
                partial.rename(shared)
        copy = compiled.with_suffix(".partial")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(shared, copy)
        copy.rename(compiled)

    def _go(
        self,
        arguments: list[str],
        folder: Path,
        more: Mapping[str, str],
        on_line: Callable[[str], None] | None = None,
    ) -> str:
        """Run ``go``; its standard output."""
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = clean_environment(
            GOROOT=str(self.toolchain.root),
            GOMODCACHE=str(self.module_cache),
            GOTOOLCHAIN="local",
            # An empty GOFLAGS counts as unset, and a setting of the user's would then apply.
            GOFLAGS="-buildvcs=false",
            GOWORK="off",
            **more,
        )
        command = [str(self.toolchain.go), *arguments]
        with subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if on_line else subprocess.PIPE,
        ) as process:
            if on_line is None:
                output, errors = process.communicate()
            else:
                lines = []
                for line in process.stdout or ():
                    lines.append(line)
                    on_line(line.rstrip())
                output = errors = "".join(lines)
            process.wait()
        if process.returncode != 0:
            raise _failed(folder.name, command, errors or output)
        return output

    def _ingredients(self, binary: Path, build: GoBuild) -> tuple[Ingredient, ...]:
        """Go modules that are in ``binary``, as it says itself."""
        found = [
            Ingredient(kind="go", name="stdlib", version=self.toolchain.version),
            *parse_modules(self._go(["version", "-m", str(binary)], self.folder, {})),
        ]
        if not build.own_module:
            # Built in its own folder, the main module calls itself (devel).
            found.append(Ingredient(kind="go", name=build.module, version=build.version))
        return tuple(sorted(found, key=lambda one: one.name))

    def _keep(self, path: Path, mode: int) -> Output:
        blob = self.store.add_file(path)
        return Output(sha256=blob.sha256, size=blob.size, mode=mode)

    def _chart(
        self, folder: Path, module: Path, build: GoBuild, added: Mapping[str, str] | None
    ) -> Output:
        """Pack a chart's folder the way Helm does, in fixed order, with what is ``added`` to it."""
        files = {path: (module / source).read_bytes() for path, source in (added or {}).items()}
        if CHART in files:
            files[CHART] = _released(files[CHART], build.version)
        described = files.get(CHART) or (folder / CHART).read_bytes()
        name = yaml.safe_load(described)["name"]
        members: list[Member] = [
            member for member in tree_members(folder, f"{name}/") if member.kind == "file"
        ]
        members += [
            Member(f"{name}/{path}", content=text, mode=0o644) for path, text in files.items()
        ]
        with self.store.writer() as writer:
            write_tar_gz(members, writer)
        return Output(sha256=writer.blob.sha256, size=writer.blob.size, mode=0o644)


def parse_modules(text: str) -> tuple[Ingredient, ...]:
    """Modules in the output of ``go version -m``: of a replaced one, what replaced it."""
    found: list[Ingredient] = []
    for line in text.splitlines():
        fields = line.strip().split("\t")
        if fields[0] in {"dep", "=>"} and len(fields) >= 3:
            if fields[0] == "=>":
                found.pop()
            checksum = fields[3] if len(fields) > 3 else ""
            found.append(
                Ingredient(kind="go", name=fields[1], version=fields[2], checksum=checksum)
            )
    return tuple(found)


def _released(chart: bytes, version: str) -> bytes:
    """A ``Chart.yaml`` that is only a template until its release, with its version."""
    data = {**yaml.safe_load(chart), "version": version, "appVersion": version}
    return yaml.safe_dump(data).encode()


def _checksum(build: GoBuild | CBuild, modules: Mapping[str, str]) -> str:
    name = f"{build.module}@{build.version}"
    try:
        return modules[name]
    except KeyError as error:
        raise BundleError("the catalog has no checksum for a Go module", where=name) from error


def _executable(package: str, module: str) -> str:
    """What ``go build`` calls the binary of ``package``."""
    path = module if package == "." else package
    *front, last = path.split("/")
    return front[-1] if front and re.fullmatch(r"v[0-9]+", last) else last


def _counter(total: int, detail: Detail) -> Callable[[str], None]:
    """Counts the packages that ``go build -v`` names."""
    done = 0

    def count(line: str) -> None:
        nonlocal done
        if line and " " not in line:
            done += 1
            detail(f"package {min(done, total)} of {total}")

    return count


def _failed(name: str, command: list[str], output: str) -> BundleError:
    tail = "\n".join(output.strip().splitlines()[-15:])
    return BundleError(
        "a build command failed",
        where=name,
        found=f"{Path(command[0]).name} {command[1]}:\n{tail}",
        fix="what was finished before is kept; run the same command again to continue",
    )
