"""Turns a :class:`~provision.site.SecretRef` into the secret, for adapters alone."""

from __future__ import annotations

import getpass
import sys

from provision.errors import SecretsError
from provision.privatefiles import read_given
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
    return read_given(site.resolve(reference.file)).decode().rstrip("\n")
