"""What a finished build step left, kept so that it need not be done again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from packageurl import PackageURL
from pydantic import ValidationError

from provision.bundle.archive import Member, write_tar
from provision.bundle.catalog import Model, Sha256
from provision.bundle.store import Blob, BlobStore, write_atomically


class Output(Model):
    """One thing a step made."""

    sha256: Sha256
    size: int
    kind: Literal["file", "tree"] = "file"
    """A tree is a tar archive of a folder."""
    mode: int = 0o755

    @property
    def blob(self) -> Blob:
        """Its bytes."""
        return Blob(self.sha256, self.size)


class Ingredient(Model):
    """Something that went into an output: a Go module, or a package of a registry."""

    kind: Literal["go", "deb", "pypi", "npm", "maven"]
    name: str
    """As its registry has it: a Maven artifact as ``GROUP:ARTIFACT``."""
    version: str
    checksum: str = ""
    """``h1:`` checksum of a Go module."""

    @property
    def purl(self) -> str:
        """The package URL, by which bills of materials name it."""
        match self.kind:
            case "go":
                namespace, _, name = self.name.rpartition("/")
                return str(PackageURL("golang", namespace or None, name, self.version))
            case "deb":
                return str(PackageURL("deb", "debian", self.name, self.version))
            case "pypi":
                return str(PackageURL("pypi", None, self.name, self.version))
            case "npm":
                scope, _, name = self.name.rpartition("/")
                return str(PackageURL("npm", scope or None, name, self.version))
            case "maven":
                group, _, name = self.name.rpartition(":")
                return str(PackageURL("maven", group, name, self.version))


class Result(Model):
    """What a step made, and of what."""

    outputs: Mapping[str, Output]
    ingredients: Mapping[str, tuple[Ingredient, ...]] = {}
    """By output."""
    seconds: float = 0
    """Wall time the step took when it was really done."""


class Results:
    """Results of steps by the digest of their recipe.

    A result whose bytes are gone from the store counts as not there.
    """

    def __init__(self, folder: Path, store: BlobStore) -> None:
        self.folder = folder
        self.store = store
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, key: str) -> Path:
        """Where the result of the recipe ``key`` lies, or would."""
        return self.folder / f"{key}.json"

    def read(self, key: str) -> Result | None:
        """The result of the recipe ``key``, when all its bytes are there and right."""
        try:
            result = Result.model_validate_json(self.path(key).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        if not all(self.store.intact(output.blob) for output in result.outputs.values()):
            return None
        self._touch(key)
        return result

    def write(self, key: str, result: Result) -> None:
        """Keep ``result``; its bytes must be in the store already."""
        write_atomically(self.path(key), result.model_dump_json(indent=1).encode())
        self._touch(key)

    def used_since(self, moment: int) -> frozenset[str]:
        """Recipes whose results were read or written since ``moment``, in ns since 1970."""
        return frozenset(
            path.stem for path in self.folder.glob("*.json") if path.stat().st_mtime_ns >= moment
        )

    def outputs(self, keys: Iterable[str]) -> frozenset[str]:
        """SHA-256 of everything that the results of ``keys`` name."""
        held: set[str] = set()
        for key in keys:
            try:
                result = Result.model_validate_json(self.path(key).read_bytes())
            except (FileNotFoundError, ValidationError):
                continue
            held.update(output.sha256 for output in result.outputs.values())
        return frozenset(held)

    def _touch(self, key: str) -> None:
        # The kernel's own stamp can lie some milliseconds behind the clock.
        now = time.time_ns()
        os.utime(self.path(key), ns=(now, now))


def tree_result(
    store: BlobStore, tree: str, members: Iterable[Member], ingredients: tuple[Ingredient, ...]
) -> Result:
    """The result of a step whose one output is a folder: ``members``, packed into ``store``."""
    with store.writer() as writer:
        write_tar(members, writer)
    packed = Output(sha256=writer.blob.sha256, size=writer.blob.size, kind="tree")
    return Result(outputs={tree: packed}, ingredients={tree: ingredients})


def recipe_key(**recipe: Any) -> str:
    """Digest of everything that decides what a step makes."""
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
