"""Turns a :class:`~provision.site.SecretRef` into the secret, for adapters alone."""

from __future__ import annotations

import getpass
import sys

from provision.errors import SecretsError
from provision.secrets import SecretStore
from provision.site import SecretRef, Site


def reveal(reference: SecretRef, site: Site, store: SecretStore) -> str:
    """The secret behind ``reference``.

    Raises
    ------
    SecretsError
        The file cannot be read or others can read it, the store has no such
        secret, or it has to be asked for and there is no terminal.
    """
    if reference.store is not None:
        return store.read(reference.store).decode().rstrip("\n")
    if reference.file is None:
        if not sys.stdin.isatty():
            raise SecretsError(
                "a secret has to be asked for, and there is no terminal",
                fix="run it on a terminal, or name a file in the site: file: PATH",
            )
        return getpass.getpass(f"password for {site.name}: ")
    path = site.resolve(reference.file)
    try:
        mode = path.stat().st_mode & 0o777
        text = path.read_text("utf-8")
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
    return text.rstrip("\n")
