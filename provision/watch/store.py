"""The watcher's own files in the site's state folder, each replaced as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provision.errors import OperatorError
from provision.privatefiles import make_folder, read_private, remove_private, write_private

UNWRITTEN = "what the watcher has to remember cannot be written; nothing was changed"


class Store:
    """JSON objects by name.

    Parameters
    ----------
    folder
        Where they lie, 0600; made 0700 where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self) -> None:
        """Make the folder.

        Raises
        ------
        DiskFullError, SecretsError
            It cannot be made.
        """
        make_folder(self.folder, "the watcher's folder cannot be made")

    def read(self, name: str) -> dict[str, Any] | None:
        """What was written as ``name``, or None where nothing was.

        Raises
        ------
        OperatorError
            It is not what the watcher writes.
        SecretsError
            It cannot be read, or others can write it.
        """
        path = self._path(name)
        content = read_private(path)
        if content is None:
            return None
        try:
            data = json.loads(content)
        except ValueError as error:
            raise self._damaged(path, str(error)) from error
        if not isinstance(data, dict):
            raise self._damaged(path, "no JSON object")
        return data

    def damaged(self, name: str, found: str) -> OperatorError:
        """The error for a file that lacks something."""
        return self._damaged(self._path(name), found)

    def write(self, name: str, data: Mapping[str, Any]) -> None:
        """Put ``data`` in place of what was written as ``name``.

        Raises
        ------
        DiskFullError, SecretsError
            It cannot be written; what was there still is.
        """
        text = json.dumps(data, indent=2, default=str) + "\n"
        write_private(self._path(name), text.encode(), UNWRITTEN)

    def remove(self, name: str) -> None:
        """Forget ``name``, where there is anything to forget."""
        if self._path(name).exists():
            remove_private(self._path(name))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _damaged(self, path: Path, found: str) -> OperatorError:
        return OperatorError(
            "a file of the watcher's is damaged",
            where=str(path),
            found=found,
            fix=f"move it away, and the watcher asks for what it knew: mv {path} {path}.away",
        )
