"""Files and folders that only their owner may read, replaced as a whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provision.errors import DiskFullError, SecretsError

FOLDER_MODE = 0o700
FILE_MODE = 0o600
PARTIAL_PREFIX = ".partial-"
"""How the name of a file begins that is still being written."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a write fails with where the disk, a quota or a limit on files takes no more."""
UNWRITTEN = "the secret cannot be written; nothing was changed"


def refuse_git_tree(path: Path) -> None:
    """Refuse a place whose files could be committed.

    Raises
    ------
    SecretsError
        ``path``, or a folder above it, is a Git work tree.
    """
    for folder in (path, *path.parents):
        if (folder / ".git").exists():
            raise SecretsError(
                "secrets must not lie inside a Git work tree",
                where=str(path),
                found=f"{folder} is one",
                why="one `git add` would publish the site's private keys",
                fix="choose another folder: export XDG_STATE_HOME=/some/folder/outside/Git",
            )


def make_folder(path: Path, otherwise: str = UNWRITTEN) -> None:
    """Make ``path`` and what is missing above it, each 0700.

    Parameters
    ----------
    otherwise
        What the error says.

    Raises
    ------
    DiskFullError
        There is no room.
    SecretsError
        It cannot be made.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    with writing(path, otherwise):
        for folder in reversed(missing):
            folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
            sync_folder(folder.parent)


def check_folder(path: Path) -> None:
    """Refuse a folder of secrets that others own or may look into.

    Raises
    ------
    SecretsError
        It is no folder, belongs to another user, or its mode is not 0700.
    """
    try:
        found = path.lstat()
    except OSError as error:
        raise _read_error(error, path) from error
    if not stat.S_ISDIR(found.st_mode):
        raise SecretsError(
            "the place for secrets is not a folder",
            where=str(path),
            found=_kind(found.st_mode),
            fix=f"move it away: mv {path} {path}.away",
        )
    _check_owner(found, path)
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise SecretsError(
            "other users may look into the folder of secrets",
            where=str(path),
            found=f"mode {stat.S_IMODE(found.st_mode):04o}",
            wanted=f"mode {FOLDER_MODE:04o}",
            fix=f"chmod 0700 {path}",
        )


def read_private(path: Path) -> bytes | None:
    """The content of a file of secrets, or None where there is none.

    Raises
    ------
    SecretsError
        It cannot be read, is not a plain file, belongs to another user, or
        others may read it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _read_error(error, path) from error
    try:
        found = os.fstat(descriptor)
        _check_file(found, path)
        return os.read(descriptor, found.st_size + 1)
    except OSError as error:
        raise _read_error(error, path) from error
    finally:
        os.close(descriptor)


def read_given(path: Path) -> bytes:
    """The content of a file of the operator's own that holds a secret.

    Raises
    ------
    SecretsError
        It cannot be read, or other users can read it.
    """
    try:
        mode = path.stat().st_mode & 0o777
        content = path.read_bytes()
    except OSError as error:
        raise SecretsError(
            "the file that holds a secret cannot be read",
            where=str(path),
            found=error.strerror or str(error),
        ) from error
    if mode & 0o077:
        raise SecretsError(
            "the file that holds a secret can be read by others",
            where=str(path),
            found=f"mode {mode:04o}",
            wanted="mode 0600",
            fix=f"chmod 600 {path}",
        )
    return content


def write_private(path: Path, content: bytes, otherwise: str = UNWRITTEN) -> None:
    """Put ``content`` at ``path``, 0600, in one step that a crash cannot divide.

    Parameters
    ----------
    otherwise
        What the error says.

    Raises
    ------
    DiskFullError
        There is no room; what stood at ``path`` stands there still.
    SecretsError
        It cannot be written.
    """
    make_folder(path.parent, otherwise)
    with writing(path, otherwise):
        descriptor, name = tempfile.mkstemp(prefix=PARTIAL_PREFIX, dir=path.parent)
        partial = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def remove_private(path: Path) -> None:
    """Remove the file at ``path``, for good even after a loss of power."""
    with writing(path):
        path.unlink(missing_ok=True)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make what was renamed in ``path`` outlast a loss of power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_file(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SecretsError(
            "a secret must be a plain file",
            where=str(path),
            found=_kind(found.st_mode),
            fix=f"look at it, then move it away: ls -ld {path}",
        )
    _check_owner(found, path)
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise SecretsError(
            "other users may read this secret",
            where=str(path),
            found=f"mode {stat.S_IMODE(found.st_mode):04o}",
            wanted=f"mode {FILE_MODE:04o}",
            why="whoever read it meanwhile has it: make it anew if you do not trust them",
            fix=f"chmod 0600 {path}",
        )


def _check_owner(found: os.stat_result, path: Path) -> None:
    if found.st_uid != os.geteuid():
        raise SecretsError(
            "secrets must belong to the user who runs this",
            where=str(path),
            found=f"owner is user id {found.st_uid}",
            wanted=f"user id {os.geteuid()}",
            fix=f"run as that user, or: sudo chown -R {os.geteuid()} {path}",
        )


def _kind(mode: int) -> str:
    for test, name in (
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISREG, "a file"),
        (stat.S_ISFIFO, "a pipe"),
    ):
        if test(mode):
            return name
    return "something that is neither file nor folder"


def _read_error(error: OSError, path: Path) -> SecretsError:
    found = "a symbolic link" if error.errno == errno.ELOOP else error.strerror or str(error)
    return SecretsError(
        "the secret cannot be read", where=str(path), found=found, fix=f"ls -ld {path}"
    )


@contextmanager
def writing(path: Path, otherwise: str = UNWRITTEN) -> Iterator[None]:
    """Turn what a write to ``path`` fails with into the operator's error.

    Parameters
    ----------
    otherwise
        What the error says.

    Raises
    ------
    DiskFullError
        There is no room.
    SecretsError
        It cannot be written for another reason.
    """
    try:
        yield
    except OSError as error:
        raise write_error(error, path, otherwise) from error


def write_error(error: OSError, path: Path, what: str = UNWRITTEN) -> DiskFullError | SecretsError:
    """The operator's error for a write to ``path`` that failed."""
    if error.errno in NO_ROOM:
        return DiskFullError(
            what,
            where=str(path),
            found=error.strerror or str(error),
            fix=f"free some space on that disk, then run this again: df -h {path.parent}",
        )
    return SecretsError(
        what,
        where=str(path),
        found=error.strerror or str(error),
        fix=f"ls -ld {path.parent}",
    )
