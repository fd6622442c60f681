"""The order in which a role's changes are made on this machine.

The work is plain data that the controller derived from the differences:

``role``
    The role's name.
``has_secret``
    Whether any file's content is a secret.
``restarts``
    Units whose files will change.
``packages``, ``modules``, ``absent``
    Names to install, to load, paths to remove.
``from_bundle``
    Whether the packages are those that were laid out here before (see ``repository``).
``sysctls``
    Values by name.
``directories``, ``permissions``
    Mappings with ``path``, ``mode``, ``owner``, ``group``.
``files``
    The same with ``sha256``, ``validate``, ``secret`` (whether the content is one),
    ``restore`` (whether what stands there is kept for the role's removal), and either
    ``content`` (base64) or ``urls`` (depots).
``units``
    ``name``, ``enabled``, ``active``; None where nothing is to be changed.
``digests``
    sha256 by path of the large files which the role keeps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import files, kernel, originals, packages, permissions, units
from .marks import Marks, locked
from .reader import fingerprint
from .repository import Repository

Work = Mapping[str, Any]


def apply(work: Work) -> list[str]:
    """Do the work; returns the units that were restarted.

    Raises
    ------
    WorkError
        A step cannot be done. What was done before it stands, and the next
        run goes on from there.
    """
    marks = Marks(work["role"])
    with locked(work["role"]):
        marks.prepare()
        for unit in work["restarts"]:
            marks.mark(unit)
        if work["packages"]:
            source = Repository(work["role"]) if work["from_bundle"] else None
            packages.install(work["packages"], source)
        for directory in work["directories"]:
            permissions.make_directory(directory)
        for file in work["files"]:
            if file["restore"]:
                originals.keep(file["path"])
            files.place(file)
        for entry in work["permissions"]:
            permissions.set_permissions(entry["path"], entry)
        for name in work["modules"]:
            kernel.load_module(name)
        kernel.set_parameters(work["sysctls"])
        for path in work["absent"]:
            files.remove(path)
        marks.write(digests(work["digests"], marks))
        return _bring_units(work, marks)


def withdraw(work: Work) -> None:
    """Take away what the role keeps.

    The work names ``units``, ``files``, ``directories`` and ``packages`` to take away, as
    ``originals`` the files to put back, and as ``kept`` the units that run on without the
    role's files.
    """
    marks = Marks(work["role"])
    with locked(work["role"]):
        for name in work["units"]:
            marks.clear(name)
            units.retire(name)
        for path in work["files"]:
            files.remove(path)
        for path in work["originals"]:
            originals.put_back(path)
        for path in sorted(work["directories"], key=len, reverse=True):
            files.remove_if_empty(path)
        if any(files.holds_unit(path) for path in work["files"]):
            units.reload_definitions()
        for name in work["units"]:
            units.forget_failure(name)
        for name in work["kept"]:
            marks.clear(name)
            units.restart_if_running(name)
        marks.forget()
        if work["packages"]:
            packages.purge(work["packages"])
        Repository(work["role"]).drop()
        for folder in (marks.pending, marks.digests.parent, originals.FOLDER, marks.state):
            files.remove_if_empty(str(folder))


def _bring_units(work: Work, marks: Marks) -> list[str]:
    changed: Sequence[Mapping[str, Any]] = work["units"]
    known = {unit["name"] for unit in changed}
    others = [
        {"name": name, "enabled": None, "active": None}
        for name in work["restarts"]
        if name not in known
    ]
    touched = [file["path"] for file in work["files"]] + list(work["absent"])
    if changed or others or any(files.holds_unit(path) for path in touched):
        units.reload_definitions()
    return [unit["name"] for unit in (*changed, *others) if units.bring(unit, marks)]


def digests(wanted: Mapping[str, str], marks: Marks) -> dict[str, list[str | int]]:
    """Digests of the files that stand as wanted, hashed only where they changed since."""
    known = marks.known()
    return {
        path: entry
        for path, sha256 in wanted.items()
        if (entry := _entry(Path(path), known.get(path)))[0] == sha256
    }


def _entry(path: Path, known: list[str | int] | None) -> list[str | int]:
    before = fingerprint(path.lstat())
    if known is not None and known[1:] == before:
        return known
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return [digest, *before]
