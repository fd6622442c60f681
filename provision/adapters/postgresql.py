"""Asks the site's databases over TLS, by pg8000, as ``provision``'s own user.

The server's certificate is verified by its address, and ours is shown: the server wants
both the password and a certificate of this user.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any, Protocol

import pg8000.native
from pg8000.exceptions import DatabaseError, InterfaceError

from provision.postgresql.names import VERIFY_CERTIFICATE, VERIFY_USER, password_of
from provision.proof import NotProvenError
from provision.secrets import SecretStore

SECONDS = 10


class DatabaseClient:
    """Asks one question over one connection.

    Parameters
    ----------
    secrets
        The site's secret store: the authority, the user's password and its certificate.
    """

    def __init__(self, secrets: SecretStore) -> None:
        self.secrets = secrets

    def __call__(
        self, address: str, port: int, statement: str, **values: Any
    ) -> Sequence[Sequence[Any]]:
        """What the server at ``address`` answers.

        Raises
        ------
        NotProvenError
            It does not answer, its certificate is not for this address, or it refuses.
        """
        try:
            connection = pg8000.native.Connection(
                VERIFY_USER,
                host=address,
                port=port,
                database=VERIFY_USER,
                password=self.secrets.read(password_of(VERIFY_USER)).decode(),
                ssl_context=self._trust(),
                timeout=SECONDS,
                application_name=VERIFY_USER,
            )
            try:
                rows: Sequence[Sequence[Any]] = connection.run(statement, **values)
                return rows
            finally:
                connection.close()
        except (DatabaseError, InterfaceError, OSError) as error:
            raise NotProvenError(
                f"the databases at {address} do not answer", found=_reason(error)
            ) from error

    def _trust(self) -> ssl.SSLContext:
        folder = self.secrets.path
        context = ssl.create_default_context(cafile=str(folder / "site-ca.crt"))
        # No machine has it, so that nobody would notice that it nears its end.
        self.secrets.ensure([VERIFY_CERTIFICATE])
        certificate = folder / f"{VERIFY_CERTIFICATE.name}.crt"
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        return context


class _Told(Protocol):
    args: tuple[Any, ...]


def _reason(error: _Told) -> str:
    """The server's own sentence where it said one."""
    told = error.args[0] if error.args else error
    return str(told.get("M", told) if isinstance(told, dict) else error)
