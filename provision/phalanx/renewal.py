"""Vault's credentials and the folder that has them, renewed so that none are lost on the way.

Vault keeps what it made whatever becomes of this process, and a secret id that nobody has looks
like one that a platform uses. So the folder says that others are to be revoked before the first of
them is made, and until all of them are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from provision.errors import OperatorError
from provision.phalanx import folder as handed
from provision.phalanx.vaultside import (
    Api,
    Credentials,
    make_credentials,
    revoke_others,
    take_back,
)

Told = Mapping[str, Any]


def renew(
    api: Api,
    folder: Path,
    before: Told,
    own: Told,
    kept: Credentials | None,
    files: Callable[[Credentials, Told, bytes | None], Mapping[str, bytes]],
) -> tuple[Credentials, Told]:
    """Put a folder in place with credentials that get in, and revoke those that it replaces.

    Parameters
    ----------
    before
        What the folder said of itself; nothing where there is none.
    own
        What it is to say besides: ``path``, ``site``, ``installed``.
    kept
        Its credentials, if they stay; without them new ones are made.
    files
        Everything that belongs into it, by its credentials, by what it says of itself, and by what
        its static secrets are, if it has any.

    Returns
    -------
    The credentials that it has, and what it says of itself by now.

    Raises
    ------
    OperatorError
        Vault refuses, or the folder cannot be read or written. What was made for it is taken back,
        or goes with the next hand-over.
    """
    path = own["path"]
    handed.ready(folder)
    # Before anything is made: an editor may have left it for others to read, which is refused.
    static = handed.kept_file(folder, handed.STATIC)
    if kept is None and before:
        handed.note(folder, {**before, "revoking": True})
    given = kept
    try:
        given = given or make_credentials(api, path)
        revoking = kept is None or before.get("revoking", False)
        now = {**own, "credentials": asdict(given), "revoking": revoking}
        handed.put(folder, files(given, now, static))
    except BaseException as error:
        # Ctrl-C too.
        if kept is None and given is not None and not _has(folder, given):
            _give_back(api, folder, before, path, given, error)
        raise
    if revoking:
        # Not before the new ones are where they are looked for.
        revoke_others(api, path, given)
        now["revoking"] = False
        handed.note(folder, now)
    return given, now


def _has(folder: Path, made: Credentials) -> bool:
    """Whether the folder is in place with them, so that what failed came after that."""
    # One that cannot be read gives them to nobody, and the error that led here is the one to tell.
    with suppress(OperatorError):
        return handed.kept_credentials(handed.earlier(folder)) == made
    return False


def _give_back(
    api: Api, folder: Path, before: Told, path: str, made: Credentials, error: BaseException
) -> None:
    """Revoke what nobody was given; ``error``, for which it is, stays the one that is told."""
    try:
        take_back(api, path, made)
        if before:
            handed.note(folder, before)
    except OperatorError as second:
        if isinstance(error, OperatorError):
            left = "credentials that were made may be left in Vault until the next hand-over"
            error.also = (*error.also, f"{left}: {second.found or second.what}")
