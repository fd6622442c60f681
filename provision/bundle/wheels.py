"""Python environments of wheels from PyPI, for an image's own interpreter."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from provision.bundle.archive import Member, tree_members
from provision.bundle.catalog import Architecture, PythonBuild
from provision.bundle.fetchlocked import fetch_locked
from provision.bundle.results import Ingredient, Result, recipe_key, tree_result
from provision.bundle.store import BlobStore

LOCKS = Path(__file__).parent / "catalog" / "python"

MACHINES: dict[Architecture, str] = {"amd64": "x86_64", "arm64": "aarch64"}
"""What wheels call an architecture."""
GLIBC = 41
"""The C library that an image has at least is 2.41, Debian 13's."""

_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+) \\$", re.MULTILINE)
_DATA = ("bin", "etc", "include", "share")
"""What pip lays beside the packages, and what stands above them in an environment."""


@dataclass(frozen=True)
class PythonWorkshop:
    """Where Python environments are made."""

    folder: Path
    store: BlobStore
    architecture: Architecture
    locks: Path = LOCKS

    def key(self, build: PythonBuild) -> str:
        """Digest of the recipe, which names the digest of every wheel."""
        return recipe_key(
            recipe=1,
            architecture=self.architecture,
            build=build.recipe(),
            lock=self._lock(build).read_text(encoding="utf-8"),
        )

    def build(self, build: PythonBuild) -> Result:
        """Lay out the wheels that the lock names as a virtual environment has them.

        Raises
        ------
        BundleError
            A wheel cannot be had, or is not the one that the lock names.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=self.folder) as name:
            root = Path(name)
            packages = root / "lib" / f"python{build.python}" / "site-packages"
            self._install(build, packages)
            _arrange(root, packages, f"{build.prefix}/bin/python3")
            settings = ("home = /usr/bin", "include-system-site-packages = false")
            (root / "pyvenv.cfg").write_text(
                "\n".join((*settings, f"version = {build.python}", "")), encoding="ascii"
            )
            links = (
                Member("bin/python3", "link", target="/usr/bin/python3"),
                Member("bin/python", "link", target="python3"),
            )
            return tree_result(
                self.store,
                build.tree,
                (*tree_members(root), *links),
                locked(self._lock(build).read_text(encoding="utf-8")),
            )

    def _lock(self, build: PythonBuild) -> Path:
        return self.locks / f"{build.lock}.txt"

    def _install(self, build: PythonBuild, target: Path) -> None:
        # Compiled files would be those of the Python that runs here, and older versions of pip
        # ask what this one is, not the image's.
        arguments = [
            *("-m", "pip", "install", "--quiet", "--no-input", "--no-compile", "--no-deps"),
            *("--ignore-requires-python", "--require-hashes"),
            *("--only-binary=:all:", "--implementation=cp"),
            f"--python-version={build.python}",
            *(f"--platform={tag}" for tag in platforms(self.architecture)),
            *("--target", str(target), "--requirement", str(self._lock(build))),
        ]
        fetch_locked(
            [sys.executable, *arguments],
            self._lock(build),
            manager="pip",
            settings="PIP_",
            fix="see that pip reaches its index: pip download --no-deps pip",
        )


def platforms(architecture: Architecture) -> tuple[str, ...]:
    """Platform tags of the wheels that run on Debian 13, best first (PEP 600)."""
    machine = MACHINES[architecture]
    oldest = {"amd64": 5, "arm64": 17}[architecture]
    older = {"amd64": ("2014", "2010", "1"), "arm64": ("2014",)}[architecture]
    return (
        *(f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, oldest - 1, -1)),
        *(f"manylinux{year}_{machine}" for year in older),
    )


def locked(lock: str) -> tuple[Ingredient, ...]:
    """The packages that a lock names."""
    return tuple(
        Ingredient(kind="pypi", name=re.sub(r"[-_.]+", "-", name).lower(), version=version)
        for name, version in sorted(_LOCKED.findall(lock))
    )


def _arrange(root: Path, packages: Path, python: str) -> None:
    """Turn what pip laid side by side into an environment whose scripts start ``python``."""
    for name in _DATA:
        if (packages / name).exists():
            shutil.move(packages / name, root / name)
    for script in (root / "bin").glob("*"):
        text = script.read_bytes()
        script.write_bytes(text.replace(sys.executable.encode(), python.encode()))
    for record in packages.glob("*.dist-info/RECORD"):
        # Scripts are others than pip noted; nothing takes packages off an image.
        lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = (line for line in lines if not line.startswith("../"))
        record.write_text("".join(kept), encoding="utf-8")
