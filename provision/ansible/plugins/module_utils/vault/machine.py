"""What Vault needs on a machine besides files: the marker of an attempt, and credentials."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from .transit import Key, TransitError
from .transit import prove as try_key

TRANSIT_DIGEST = Path("/etc/provision/vault/transit.sha256")
"""Which key and token were proven."""
MARKER = Path("/var/lib/provision/vault-attempt")
"""Says that this machine's Vault was never used, and in which attempt it takes part."""
STATE = Path("/var/lib/private/vault")
STORED = ("raft", "vault.db")
"""All that Vault's storage consists of, in its folder."""
ASIDE = "aside-"
"""How folders begin that storage is put aside in, beside what is in use."""
UNIT = "vault.service"
GIVES_KEYS = "vault-unseal.servic[e]"


class WorkError(Exception):
    """A step that cannot be done, in words for the administrator."""


def mark(attempt: str, marker: Path = MARKER) -> bool:
    """Note that this machine's Vault takes part in ``attempt``; whether that was new."""
    if _marked(marker) == attempt:
        return False
    marker.parent.mkdir(parents=True, exist_ok=True)
    _write(marker, attempt.encode() + b"\n", 0o644)
    return True


def unmark(marker: Path = MARKER) -> bool:
    """Take the marker away: from now on this Vault is never emptied; whether there was one."""
    if not marker.exists():
        return False
    marker.unlink()
    _sync(marker.parent)
    return True


def empty(attempt: str, marker: Path = MARKER, state: Path = STATE) -> bool:
    """Begin anew with a Vault that was asked for its keys in ``attempt`` and never used.

    Its storage is put aside and not deleted, in case that somebody knows better.

    Raises
    ------
    WorkError
        The machine does not bear the attempt's marker: its Vault may hold something.
    """
    if _marked(marker) != attempt:
        raise WorkError(
            "this machine's Vault is initialised, its keys are not in the site's secrets, and"
            " nothing says that it was never used, so it is not emptied; bring the secrets that"
            " belong to it: provision secrets import FILE"
        )
    renew(attempt, state)
    return True


def renew(name: str, state: Path = STATE) -> bool:
    """Put the storage of a Vault that nobody can have used aside, and start it without any."""
    _run(["systemctl", "stop", UNIT])
    put_aside(name, state)
    _run(["systemctl", "start", UNIT])
    return True


def put_aside(name: str, state: Path = STATE) -> None:
    """Move Vault's storage into a folder of its own beside it, of which there may be several."""
    stored = [state / part for part in STORED if (state / part).exists()]
    if not stored:
        return
    number = sum(1 for _ in state.glob(f"{ASIDE}{name}-*"))
    folder = state / f"{ASIDE}{name}-{number}"
    folder.mkdir(mode=0o700)
    for part in stored:
        part.rename(folder / part.name)
    _sync(folder)
    _sync(state)


def keep_keys(name: str, path: Path, content: bytes) -> bool:
    """Keep the keys that this machine unseals its Vault with; whether they changed.

    Those of another Vault are given no more, in between the right ones.
    """
    if path.exists() and not _holds(name, path, content):
        forget(path)
    return encrypt(name, path, content)


def encrypt(name: str, path: Path, content: bytes) -> bool:
    """Keep ``content`` as a credential that only this machine can decrypt; whether it changed.

    The content passes through pipes alone.
    """
    if path.exists() and _holds(name, path, content):
        return False
    made = _credentials(["encrypt", "--with-key=auto", f"--name={name}", "-", "-"], content)
    if made.returncode != 0:
        raise WorkError(
            f"systemd-creds cannot encrypt {name}: {made.stderr.decode(errors='replace').strip()}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, made.stdout, 0o600)
    return True


def seal(
    key: Key,
    token: str,
    digest: str,
    name: str,
    path: Path,
    *,
    prove: bool,
    proven: Path = TRANSIT_DIGEST,
) -> bool:
    """Keep the token for the key that another Vault keeps, once it is proven; whether it changed.

    A Vault that runs reads it anew.

    Raises
    ------
    WorkError
        The key cannot be used with it.
    """
    known = path.exists() and _marked(proven) == digest
    if known and not prove:
        return False
    try:
        try_key(key, token)
    except TransitError as error:
        raise WorkError(str(error)) from None
    if known:
        return False
    encrypt(name, path, token.encode())
    if subprocess.run(["systemctl", "is-active", "--quiet", UNIT], check=False).returncode == 0:
        restart()
    _write(proven, digest.encode() + b"\n", 0o600)
    return True


def restart() -> bool:
    """Restart Vault."""
    _run(["systemctl", "restart", UNIT])
    return True


def forget(credential: Path) -> bool:
    """Take away the keys of an earlier Vault; whether there were any.

    They would be given to the new one in between its own, as soon as it takes some.
    """
    if not credential.exists():
        return False
    # A pattern: where people unseal, there is no such unit, and that is no fault.
    _run(["systemctl", "stop", GIVES_KEYS])
    credential.unlink()
    _sync(credential.parent)
    return True


def _holds(name: str, path: Path, content: bytes) -> bool:
    """Whether a credential can be decrypted here, to ``content``."""
    found = _credentials(["decrypt", f"--name={name}", str(path), "-"], b"")
    return found.returncode == 0 and found.stdout == content


def _marked(marker: Path) -> str:
    try:
        return marker.read_text("utf-8").strip()
    except FileNotFoundError:
        return ""


def _write(path: Path, content: bytes, mode: int) -> None:
    fresh = path.with_name(f".{path.name}.provision-new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _credentials(arguments: list[str], content: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["systemd-creds", *arguments], input=content, capture_output=True, check=False
    )


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise WorkError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
