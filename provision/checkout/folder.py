"""A folder with a repository in it, read with nothing taken for granted.

Whoever may commit to it decides what is there: links that lead out of it, named
pipes, files that are no text. What cannot be read is told, and counts as empty.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from provision.checkout.told import Told

MANIFESTS = (".yaml", ".yml", ".json")


class Folder:
    """The repository below ``root``.

    Parameters
    ----------
    root
        Folder of the site file.
    told
        Is told of what cannot be read.
    """

    def __init__(self, root: Path, told: Told) -> None:
        self.root = root
        self._told = told

    def manifests(self, who: str, folder: Path, *, deep: bool) -> Iterator[Path]:
        """The manifests of a folder; what only looks like one is a finding."""
        try:
            with os.scandir(folder) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError as problem:
            self._told.unreadable(who, self.shown(folder), problem)
            return
        for entry in inside:
            path = Path(entry)
            if entry.is_dir(follow_symlinks=False):
                if deep:
                    yield from self.manifests(who, path, deep=deep)
                elif path.suffix in MANIFESTS:
                    self._told.warning(
                        f"{who}: {self.shown(path)} is a folder, which Argo CD passes over"
                    )
            elif path.suffix in MANIFESTS:
                yield path

    def folders(self, levels: int) -> list[str]:
        """Folders down to so many levels, by their paths; those with a dot at first are left out.

        Argo CD does not look into these, nor does it follow links.
        """
        found: list[str] = []
        level = [self.root]
        for _ in range(levels):
            level = [
                path
                for folder in level
                for path in sorted(_entries(folder))
                if not path.name.startswith(".") and not path.is_symlink() and path.is_dir()
            ]
            found += [self.shown(path) for path in level]
        return sorted(found)

    def text(self, who: str, file: Path) -> str:
        """What a manifest says; nothing, and a finding, where it cannot be read."""
        shown = self.shown(file)
        real = self.inside(file)
        if real is None:
            self._told.error(
                f"{who}: {shown} is a link that leads nowhere, or out of the repository"
            )
            return ""
        try:
            # Reading anything else, such as a named pipe, might never end.
            if real.exists() and not (real.is_file() or real.is_dir()):
                self._told.error(f"{who}: {shown} is no file")
                return ""
            return real.read_bytes().decode("utf-8-sig")
        except OSError as problem:
            self._told.unreadable(who, shown, problem)
        except UnicodeDecodeError as problem:
            byte = problem.object[problem.start]
            self._told.error(
                f"{who}: {shown} is no UTF-8 text",
                found=f"the byte 0x{byte:02x} at {problem.start}",
            )
        return ""

    def shown(self, path: Path) -> str:
        """A path as it is called in the repository."""
        for root in (self.root, self.root.resolve()):
            if path.is_relative_to(root):
                return str(path.relative_to(root))
        return str(path)

    def inside(self, path: Path) -> Path | None:
        """``path`` without links and dots, unless it leads out of the repository."""
        try:
            found = path.resolve()
            # Newer versions of Python leave a link that goes round in a circle as it is.
            circular = found.is_symlink()
        except (OSError, RuntimeError, ValueError):
            # Links that go round in a circle, and names that no file has.
            return None
        inside = not circular and found.is_relative_to(self.root.resolve())
        return found if inside else None


def _entries(folder: Path) -> list[Path]:
    """What is in a folder; nothing where it may not be read."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def seen_as(what: Callable[[Path], bool], path: Path) -> bool:
    """Whether ``path`` is seen to be ``what``."""
    try:
        return what(path)
    except OSError:
        return False
