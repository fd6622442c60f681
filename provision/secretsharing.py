"""Takes the secret store from one controller to another, as one encrypted file.

The file is a tar of the store in the age format, so ``age -d FILE | tar t``
reads it without this project.
"""

from __future__ import annotations

import ctypes
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from provision import agefile
from provision.errors import SecretsError, UsageError
from provision.privatefiles import read_private, refuse_git_tree, sync_folder, write_private
from provision.secrets import MARKER, NAME, Marker, SecretStore

MAX_BYTES = 16 * 1024 * 1024
"""No site's secrets come near this size; a file that does is something else."""

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


@dataclass(frozen=True)
class Imported:
    """What an import changed, by name; all empty when everything was here already."""

    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    kept_copy: Path | None = None
    """Where the store as it was before lies now, if secrets were replaced."""


def export_secrets(
    store: SecretStore,
    target: Path,
    *,
    recipients: Sequence[str] = (),
    passphrase: str | None = None,
) -> list[str]:
    """Write the whole store, encrypted, to the new file ``target``.

    Parameters
    ----------
    recipients
        age or OpenSSH public keys; the owner of any one of them can read it.
    passphrase
        Encrypt with this instead.

    Returns
    -------
    Names of the files that went into it.

    Raises
    ------
    SecretsError
        There is nobody to encrypt to, or nothing to export.
    UsageError
        ``target`` is there already; it is left as it is.
    DiskFullError
        There is no room.
    """
    if bool(recipients) == (passphrase is not None):
        raise SecretsError(
            "there is nobody to encrypt the secrets to"
            if not recipients
            else "encrypt either to public keys or with a passphrase",
            where="secrets.recipients",
            wanted="public keys of the site's administrators, age1… or ssh-ed25519 …",
            fix="add them to the site file, or: provision secrets export FILE --recipient age1…,"
            " or --passphrase",
        )
    if target.exists():
        raise UsageError(
            "the file is there already and was left as it is",
            where=str(target),
            fix="name another file",
        )
    contents = _contents(store)
    plain = _packed(contents)
    encrypted = (
        agefile.encrypt(plain, recipients)
        if passphrase is None
        else agefile.encrypt_with_passphrase(plain, passphrase)
    )
    write_private(target.absolute(), encrypted)
    return sorted(set(contents) - {MARKER})


def import_secrets(
    store: SecretStore,
    source: Path,
    *,
    identities: Sequence[Path] = (),
    ask: Callable[[], str] | None = None,
    force: bool = False,
) -> Imported:
    """Bring exported secrets into the store: all of them, or none.

    Parameters
    ----------
    identities
        Files with the private keys to decrypt with.
    ask
        Asks for the passphrase, where the file was encrypted with one.
    force
        Replace secrets that are here and differ. The store as it was is kept
        beside the new one.

    Raises
    ------
    SecretsError
        The file cannot be decrypted, is malformed, belongs to another site,
        or differs from what is here and ``force`` is not set.
    DiskFullError
        There is no room; nothing was changed.
    """
    refuse_git_tree(store.path)
    contents = _unpacked(_decrypted(source, identities, ask), source)
    theirs = Marker.parse(contents.pop(MARKER), f"{MARKER} in {source}")
    if store.site and theirs.site != store.site:
        raise SecretsError(
            "these are the secrets of another site",
            where=str(source),
            found=theirs.site,
            wanted=store.site,
            fix="name the site that they belong to: provision secrets import FILE --site SITE",
        )
    with store.locked():
        _remove_remains(store)
        ours = store.marker
        present = {name: store.read(name) for name in store.names()}
        differing = sorted(
            name for name in contents if name in present and present[name] != contents[name]
        )
        added = sorted(set(contents) - set(present))
        if differing and not force:
            raise _would_replace(source, differing, theirs, ours)
        made = {**(ours.made if ours else {}), **theirs.made}
        if not differing and not added and ours is not None and made == dict(ours.made):
            return Imported()
        generation = max(theirs.generation, ours.generation if ours else 0) + (1 if ours else 0)
        merged = Marker(theirs.site, generation, made)
        whole = {**present, **contents, MARKER: merged.as_bytes()}
        kept = _replace_store(store.path, whole, keep=bool(differing))
        return Imported(tuple(added), tuple(differing), kept)


def _contents(store: SecretStore) -> dict[str, bytes]:
    marker = store.marker if store.path.exists() else None
    if marker is None:
        raise SecretsError(
            "this controller has no secrets of the site to export",
            where=str(store.path),
            fix="run this where the site was set up, or set it up: provision up",
        )
    with store.locked():
        contents = {name: store.read(name) for name in store.names()}
        contents[MARKER] = read_private(store.path / MARKER) or marker.as_bytes()
    return contents


def _packed(contents: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(contents):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(contents[name]), 0o600
            archive.addfile(member, io.BytesIO(contents[name]))
    return buffer.getvalue()


def _unpacked(plain: bytes, source: Path) -> dict[str, bytes]:
    """Content by name; refuses everything that an export does not write."""
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            for member in archive:
                legal = NAME.fullmatch(member.name) or member.name == MARKER
                plain_file = member.isreg() and not member.issparse()
                if not legal or not plain_file or member.name in contents:
                    raise _not_an_export(source, f"the entry {member.name!r}"[:120])
                file = archive.extractfile(member)
                content = b"" if file is None else file.read()
                if len(content) != member.size:
                    raise _not_an_export(source, f"{member.name} is cut short")
                contents[member.name] = content
    except (tarfile.TarError, EOFError, UnicodeError) as error:
        raise _not_an_export(source, str(error)) from error
    if MARKER not in contents:
        raise _not_an_export(source, f"no {MARKER}")
    names = [Path(name) for name in contents]
    folders = {str(parent) for name in names for parent in name.parents}
    if folders & set(contents):
        raise _not_an_export(source, "a name that is a file and a folder")
    return contents


def _decrypted(source: Path, identities: Sequence[Path], ask: Callable[[], str] | None) -> bytes:
    try:
        size = source.stat().st_size
        content = source.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        raise SecretsError(
            "the file cannot be read",
            where=str(source),
            found=error.strerror or str(error),
            fix="name the exported file: provision secrets import FILE",
        ) from error
    if not agefile.is_age(content):
        raise _not_an_export(source, f"{size} bytes that are not in the age format")
    if agefile.wants_passphrase(content):
        if ask is None:
            raise SecretsError(
                "the file was encrypted with a passphrase, and there is no terminal to ask for it",
                where=str(source),
                fix="run this at a terminal",
            )
        return agefile.decrypt_with_passphrase(content, ask(), where=str(source))
    if not identities:
        raise SecretsError(
            "a private key is needed to decrypt the file",
            where=str(source),
            fix=f"provision secrets import {source} --identity KEYFILE",
        )
    return agefile.decrypt(content, identities, where=str(source))


def _would_replace(
    source: Path, differing: Sequence[str], theirs: Marker, ours: Marker | None
) -> SecretsError:
    generation = ours.generation if ours else 0
    newer = "newer than" if theirs.generation > generation else "not newer than"
    return SecretsError(
        "the file differs from secrets that are here; nothing was changed",
        where=str(source),
        found=", ".join(differing),
        why=f"the file is {newer} this store (generation {theirs.generation} and {generation});"
        " machines keep running with the secrets that they have",
        fix=f"if the file is right: provision secrets import {source} --force; the store as it is"
        " will be kept beside the new one",
    )


def _not_an_export(source: Path, found: str) -> SecretsError:
    return SecretsError(
        "this is not a file that provision secrets export wrote",
        where=str(source),
        found=found,
        fix="name the exported file: provision secrets import FILE",
    )


def _incoming_prefix(store: Path) -> str:
    return f".{store.name}.incoming-"


def _remove_remains(store: SecretStore) -> None:
    """Remove what an import left that was killed before it was through."""
    for path in store.path.parent.glob(_incoming_prefix(store.path) + "*"):
        shutil.rmtree(path)


def _replace_store(path: Path, contents: Mapping[str, bytes], *, keep: bool) -> Path | None:
    """Put a folder with ``contents`` in the place of ``path``, in one step.

    Returns
    -------
    Where the folder as it was lies now, if it is to be kept.
    """
    incoming = Path(tempfile.mkdtemp(prefix=_incoming_prefix(path), dir=path.parent))
    try:
        for name, content in contents.items():
            write_private(incoming / name, content)
        if any(path.iterdir()):
            exchange(incoming, path)
        else:
            incoming.rename(path)
        sync_folder(path.parent)
        if keep:
            kept = path.with_name(f"{path.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
            incoming.rename(kept)
            return kept
    finally:
        if incoming.exists():
            shutil.rmtree(incoming)
    return None


def exchange(one: Path, other: Path) -> None:
    """Swap two folders in one step (Linux' ``renameat2`` with ``RENAME_EXCHANGE``)."""
    library = ctypes.CDLL(None, use_errno=True)
    status = library.renameat2(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
    )
    if status != 0:
        reason = os.strerror(ctypes.get_errno())
        raise SecretsError(
            "the file system cannot swap two folders in one step; nothing was changed",
            where=str(other),
            found=reason,
            fix=f"move the old one away, then run the command again: mv {other} {other}.away",
        )
