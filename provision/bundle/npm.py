"""Packages from the npm registry, with all that they need."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from provision.bundle.archive import tree_members
from provision.bundle.catalog import Architecture, NpmBuild
from provision.bundle.fetchlocked import fetch_locked
from provision.bundle.results import Ingredient, Result, recipe_key, tree_result
from provision.bundle.store import BlobStore

LOCKS = Path(__file__).parent / "catalog" / "npm"

_LOCK = "package-lock.json"
_INSTALLED = "node_modules"


@dataclass(frozen=True)
class NpmWorkshop:
    """Where packages of npm are put together."""

    folder: Path
    store: BlobStore
    architecture: Architecture
    locks: Path = LOCKS

    def key(self, build: NpmBuild) -> str:
        """Digest of the recipe, which names the digest of every package."""
        return recipe_key(
            recipe=1,
            architecture=self.architecture,
            build=build.recipe(),
            lock=(self.locks / build.lock / _LOCK).read_text(encoding="utf-8"),
        )

    def build(self, build: NpmBuild) -> Result:
        """Lay out the packages that the lock names; none of their own scripts is run.

        Raises
        ------
        BundleError
            A package cannot be had, or is not the one that the lock names.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        source = self.locks / build.lock
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=self.folder) as name:
            root = Path(name)
            for file in ("package.json", _LOCK):
                shutil.copyfile(source / file, root / file)
            self._install(root, source)
            # What npm notes for itself names the registry that this machine uses.
            (root / _INSTALLED / f".{_LOCK}").unlink(missing_ok=True)
            return tree_result(
                self.store,
                build.tree,
                tree_members(root / _INSTALLED, f"{_INSTALLED}/"),
                locked((source / _LOCK).read_text(encoding="utf-8")),
            )

    def _install(self, root: Path, source: Path) -> None:
        # npm's cache stays in the folder that goes, so that what is used was verified now.
        command = [
            *("npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"),
            *("--loglevel=error", "--cache", str(root / ".npm")),
        ]
        fetch_locked(
            command,
            source / _LOCK,
            manager="npm",
            settings="npm_config_",
            fix="see that npm reaches its registry: npm ping",
            folder=root,
        )


def locked(lock: str) -> tuple[Ingredient, ...]:
    """The packages that a lock names, without those for development."""
    packages = json.loads(lock)["packages"]
    found = {
        (path.rpartition(f"{_INSTALLED}/")[2], one["version"])
        for path, one in packages.items()
        if path and not one.get("dev")
    }
    return tuple(
        Ingredient(kind="npm", name=name, version=version) for name, version in sorted(found)
    )
