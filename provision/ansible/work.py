"""From differences to work: what the module ``site_state`` is told to do on one machine.

The module decides nothing. Here the role's state and the reader's answer
become the plain data that ``module_utils/site_state/work.py`` describes, and
nothing is in it that is already as it should be.
"""

from __future__ import annotations

import base64
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from provision.facts import Query, query_for
from provision.state import DesiredState, Difference, File, Unit, differences

Contents = Callable[[File], Mapping[str, Any]]
"""Where a file's bytes come from: ``{"content": base64}`` or ``{"urls": [...]}``."""

GONE = ("absent", "as it was before")
ORIGINALS = "/var/lib/provision/originals"
"""Where a machine keeps what stood in the place of files that are to be restored."""
PACKAGES = "/var/lib/provision/packages"
"""Where Debian packages of the bundle lie on a machine while they are installed."""
OS_RELEASE = "/etc/os-release"
"""Says which release of Debian a machine has."""


def state_query(desired: DesiredState, *, texts: bool) -> Query:
    """What to read so that the work, its reverse and, with ``texts``, its diff can be told."""
    rendered = frozenset(file.path for file in desired.files if file.content is not None)
    return query_for(desired) | Query(
        texts=(rendered if texts else frozenset()) | {OS_RELEASE},
        globs=frozenset({f"{ORIGINALS}/*"}),
    )


def changes(desired: DesiredState, observed: Mapping[str, Any]) -> list[dict[str, str]]:
    """The differences as plain data, in the words of the plan."""
    return [asdict(difference) for difference in differences(desired, observed)]


def apply_work(
    role: str, desired: DesiredState, observed: Mapping[str, Any], contents: Contents
) -> dict[str, Any]:
    """What has to be done so that the machine is as ``desired``."""
    found = differences(desired, observed)
    files = {file.path: file for file in desired.files}
    differing = [files[path] for path in _names(found, "file")]
    rewritten = [file for file in differing if not _has_content(file, observed)]
    directories = {directory.path: directory for directory in desired.directories}
    return {
        "role": role,
        "restarts": _restarts(desired, observed, rewritten),
        "packages": _names(found, "package"),
        "modules": _names(found, "kernel module"),
        "sysctls": {name: desired.sysctls[name] for name in _names(found, "sysctl")},
        "directories": [asdict(directories[path]) for path in _names(found, "directory")],
        "has_secret": any(file.source == "secret" for file in rewritten),
        "files": [_file(file, contents) for file in rewritten],
        "permissions": [
            {"path": file.path, "mode": file.mode, "owner": file.owner, "group": file.group}
            for file in differing
            if file not in rewritten
        ],
        "absent": _names(found, "path"),
        "units": [
            work for unit in desired.units if (work := _unit(unit, observed["units"][unit.name]))
        ],
        "digests": {
            file.path: file.sha256 for file in desired.files if file.source in ("blob", "push")
        },
    }


def withdrawal(
    role: str, desired: DesiredState, observed: Mapping[str, Any], *, purge: bool
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """What has to be done to take the role's state off the machine, and its description."""
    retired = [unit.name for unit in desired.units if not unit.keep]
    units = [name for name in retired if _is_up(observed["units"][name])]
    there = [file for file in desired.files if observed["files"][file.path] is not None]
    files = [file.path for file in there if not file.restore]
    originals = observed["globs"][f"{ORIGINALS}/*"]
    restored = [
        file.path
        for file in desired.files
        if file.restore
        and any(
            f"{ORIGINALS}/{quote(file.path, safe='')}{end}" in originals for end in ("", ".none")
        )
    ]
    directories = [
        directory.path
        for directory in desired.directories
        if observed["files"][directory.path] is not None
    ]
    packages = [name for name in desired.packages if purge and observed["packages"][name]]
    described = [
        *(Difference("unit", name, observed["units"][name]["state"], "absent") for name in units),
        *(Difference("file", path, "present", "absent") for path in files),
        *(Difference("file", path, "replaced", "as it was before") for path in restored),
        *(Difference("package", name, "installed", "purged") for name in packages),
    ]
    work = {
        "role": role,
        "has_secret": False,
        # All of them: a unit that is down already may still be in systemd's list of failed ones.
        "units": retired[::-1],
        "kept": [
            unit.name
            for unit in desired.units
            if unit.keep and any(unit.name in file.restart for file in there)
        ],
        "files": files,
        "originals": restored,
        "directories": directories,
        "packages": packages,
    }
    return work, [asdict(difference) for difference in described]


def diff(
    desired: DesiredState, observed: Mapping[str, Any], listed: Sequence[Mapping[str, str]]
) -> list[dict[str, str]]:
    """Ansible's diff of ``listed`` changes: texts of templates, and one line for all else.

    A secret's content is never in it, nor is that of a file which is not text.
    """
    contents = {file.path: file for file in desired.files if file.content is not None}
    texts = observed.get("texts", {})
    shown = []
    others = []
    for change in listed:
        file = contents.get(change["name"]) if change["kind"] == "file" else None
        if file is None or _has_content(file, observed):
            others.append(f"{change['kind']} {change['name']}: {change['found']} -> ")
            others[-1] += change["wanted"] + "\n"
            continue
        before = texts.get(file.path) or ""
        after = (file.content or "") if change["wanted"] not in GONE else ""
        shown.append({"prepared": _unified(file.path, before, after)})
    return [*shown, {"prepared": "".join(others)}] if others else shown


def _unified(path: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        fromfile=f"{path} on the machine",
        tofile=f"{path} as wanted",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _names(found: Sequence[Difference], kind: str) -> list[str]:
    return list(dict.fromkeys(item.name for item in found if item.kind == kind))


def _has_content(file: File, observed: Mapping[str, Any]) -> bool:
    there = observed["files"][file.path]
    return bool(there and there["type"] == "file" and there["sha256"] == file.sha256)


def _restarts(
    desired: DesiredState, observed: Mapping[str, Any], rewritten: Sequence[File]
) -> list[str]:
    changed = [unit for file in rewritten for unit in file.restart]
    interrupted = [
        unit.name for unit in desired.units if observed["units"][unit.name]["restart_pending"]
    ]
    return list(dict.fromkeys([*changed, *interrupted]))


def _file(file: File, contents: Contents) -> dict[str, Any]:
    return {
        "path": file.path,
        "mode": file.mode,
        "owner": file.owner,
        "group": file.group,
        "sha256": file.sha256,
        "validate": file.validate,
        "secret": file.source == "secret",
        "restore": file.restore,
        **contents(file),
    }


def encoded(content: bytes) -> dict[str, str]:
    """Bytes as :data:`Contents` gives them."""
    return {"content": base64.b64encode(content).decode("ascii")}


def _unit(wanted: Unit, found: Mapping[str, Any]) -> dict[str, Any] | None:
    enabled = wanted.enabled if found["enabled"] != wanted.enabled else None
    active = wanted.active if found["active"] != wanted.active else None
    if enabled is None and active is None:
        return None
    return {"name": wanted.name, "enabled": enabled, "active": active}


def _is_up(unit: Mapping[str, Any]) -> bool:
    return bool(unit["enabled"] or unit["active"])
