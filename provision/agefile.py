"""Encryption in the age format (age-encryption.org/v1), by the ``pyrage`` library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyrage

from provision.errors import SecretsError

HEADER = b"age-encryption.org/v1"
ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"

_KEY_PREFIX = "AGE-SECRET-KEY-"


def encrypt(content: bytes, recipients: Sequence[str]) -> bytes:
    """Encrypt to age (``age1…``) or OpenSSH (``ssh-ed25519 …``, ``ssh-rsa …``) public keys.

    Raises
    ------
    SecretsError
        A recipient is no public key; the error names it.
    """
    encrypted: bytes = pyrage.encrypt(content, [_recipient(text) for text in recipients])
    return encrypted


def encrypt_with_passphrase(content: bytes, passphrase: str) -> bytes:
    """Encrypt with a passphrase (scrypt)."""
    encrypted: bytes = pyrage.passphrase.encrypt(content, passphrase)
    return encrypted


def is_age(content: bytes) -> bool:
    """Whether ``content`` begins as an age file does."""
    return content.startswith((HEADER, ARMOR))


def wants_passphrase(content: bytes) -> bool:
    """Whether ``content`` was encrypted with a passphrase, as its header says."""
    return content.startswith(HEADER + b"\n-> scrypt ")


def decrypt(content: bytes, identities: Sequence[Path], *, where: str) -> bytes:
    """Decrypt with the private keys in the files ``identities``.

    Parameters
    ----------
    content
        The encrypted file.
    identities
        age key files as ``age-keygen`` writes them, or OpenSSH private keys
        without a passphrase.
    where
        The encrypted file's name, for errors.

    Raises
    ------
    SecretsError
        No key fits, a key file is malformed, or the content is damaged.
    """
    keys = [key for path in identities for key in _identities(path)]
    try:
        decrypted: bytes = pyrage.decrypt(content, keys)
    except pyrage.DecryptError as error:
        raise SecretsError(
            "the file cannot be decrypted",
            where=where,
            found=str(error).lower(),
            wanted="a private key that belongs to one of the public keys it was encrypted to",
            why="the file is damaged or cut short, or none of these keys is meant:"
            f" {', '.join(map(str, identities))}",
            fix="name the right key: provision secrets import FILE --identity KEYFILE",
        ) from error
    return decrypted


def decrypt_with_passphrase(content: bytes, passphrase: str, *, where: str) -> bytes:
    """Decrypt what was encrypted with a passphrase.

    Raises
    ------
    SecretsError
        The passphrase is wrong, or the content is damaged.
    """
    try:
        decrypted: bytes = pyrage.passphrase.decrypt(content, passphrase)
    except pyrage.DecryptError as error:
        if "work parameter" in str(error):
            raise SecretsError(
                "the passphrase cannot be tried on this machine now",
                where=where,
                found=str(error).splitlines()[-1],
                why="age made it cost a second where it was encrypted, and refuses where it would"
                " cost many times as much; a busy machine counts as a slow one",
                fix="when the machine is less busy: provision secrets import FILE",
            ) from error
        raise SecretsError(
            "the file cannot be decrypted",
            where=where,
            found=str(error).lower(),
            why="the passphrase is wrong, or the file is damaged or cut short",
            fix="try again: provision secrets import FILE",
        ) from error
    return decrypted


def _recipient(text: str) -> Any:
    kind = pyrage.ssh if text.startswith("ssh-") else pyrage.x25519
    try:
        return kind.Recipient.from_str(text.strip())
    except pyrage.RecipientError as error:
        secret = text.strip().upper().startswith(_KEY_PREFIX)
        raise SecretsError(
            "this is a private key; give its public key"
            if secret
            else "this is not a public key that age can encrypt to",
            where="secrets.recipients",
            found="AGE-SECRET-KEY-…" if secret else repr(text)[:80],
            wanted="age1… as age-keygen prints it, or an OpenSSH .pub file's line (ed25519, rsa)",
            fix="print the public key of a key file: age-keygen -y KEYFILE",
        ) from error


def _identities(path: Path) -> list[Any]:
    try:
        content = path.expanduser().read_bytes()
    except OSError as error:
        raise SecretsError(
            "the key file cannot be read",
            where=str(path),
            found=error.strerror or str(error),
            fix="provision secrets import FILE --identity KEYFILE",
        ) from error
    if is_age(content):
        raise SecretsError(
            "the key file is itself encrypted",
            where=str(path),
            fix=f"decrypt it first, to a file that only you can read: (umask 077; age -d {path} >"
            " KEYFILE)",
        )
    try:
        if content.startswith(b"-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(content)]
        lines = (line.strip() for line in content.decode("utf-8").splitlines())
        keys = [
            pyrage.x25519.Identity.from_str(line)
            for line in lines
            if line and not line.startswith("#")
        ]
    except (pyrage.IdentityError, UnicodeDecodeError) as error:
        raise _no_key(path) from error
    if not keys:
        raise _no_key(path)
    return keys


def _no_key(path: Path) -> SecretsError:
    return SecretsError(
        "the file holds no private key that age can use",
        where=str(path),
        wanted=f"lines that begin with {_KEY_PREFIX}, or an OpenSSH private key",
        fix="provision secrets import FILE --identity KEYFILE",
    )
