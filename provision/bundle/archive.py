"""Archives whose bytes depend on their content alone: fixed order, times and owners."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

EPOCH = 1767225600
"""Time stamped on everything made here, in seconds since 1970 (2026-01-01)."""

GZIP_LEVEL = 6
"""Balance of size and time."""


@dataclass(frozen=True)
class Member:
    """One entry of an archive.

    Parameters
    ----------
    path
        Inside the archive, without a leading slash.
    content
        For a file: its bytes, or the file that holds them.
    target
        For a link: what it points to.
    """

    path: str
    kind: Literal["file", "folder", "link"] = "file"
    content: Path | bytes = b""
    target: str = ""
    mode: int = 0o755


def write_tar(members: Iterable[Member], file: io.RawIOBase | gzip.GzipFile) -> None:
    """Write ``members`` to ``file`` as a tar archive, with the folders above them."""
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for member in _with_parents(members):
            _add(tar, member)


def write_tar_gz(members: Iterable[Member], file: io.RawIOBase) -> None:
    """Write ``members`` to ``file`` as a compressed tar archive."""
    with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as compressed:
        write_tar(members, compressed)


def tree_members(folder: Path, prefix: str = "") -> tuple[Member, ...]:
    """Everything below ``folder``, as members below ``prefix``, in order.

    Files keep whether they are executable, nothing else of their mode.
    """
    members = []
    for path in sorted(folder.rglob("*")):
        name = f"{prefix}{path.relative_to(folder).as_posix()}"
        if path.is_symlink():
            members.append(Member(name, "link", target=str(path.readlink())))
        elif path.is_dir():
            members.append(Member(name, "folder"))
        else:
            executable = path.stat().st_mode & 0o111
            members.append(Member(name, content=path, mode=0o755 if executable else 0o644))
    return tuple(members)


def read_members(tar_path: Path, prefix: str = "") -> tuple[Member, ...]:
    """The members of an archive written here, their bytes in memory, moved below ``prefix``."""
    members = []
    with tarfile.open(tar_path) as tar:
        for info in tar:
            name = prefix + info.name
            if info.isdir():
                members.append(Member(name, "folder", mode=info.mode))
            elif info.issym():
                members.append(Member(name, "link", target=info.linkname))
            else:
                source = tar.extractfile(info)
                content = source.read() if source else b""
                members.append(Member(name, content=content, mode=info.mode))
    return tuple(members)


def _with_parents(members: Iterable[Member]) -> list[Member]:
    by_path = {member.path.strip("/"): member for member in members}
    for path in tuple(by_path):
        for above in PurePosixPath(path).parents[:-1]:
            by_path.setdefault(str(above), Member(str(above), "folder"))
    return [by_path[path] for path in sorted(by_path)]


def _add(tar: tarfile.TarFile, member: Member) -> None:
    info = tarfile.TarInfo(member.path.strip("/"))
    info.mtime = EPOCH
    info.mode = member.mode
    match member.kind:
        case "folder":
            info.type = tarfile.DIRTYPE
            tar.addfile(info)
        case "link":
            info.type = tarfile.SYMTYPE
            info.mode = 0o777
            info.linkname = member.target
            tar.addfile(info)
        case "file":
            if isinstance(member.content, bytes):
                info.size = len(member.content)
                tar.addfile(info, io.BytesIO(member.content))
            else:
                info.size = member.content.stat().st_size
                with member.content.open("rb") as content:
                    tar.addfile(info, content)
