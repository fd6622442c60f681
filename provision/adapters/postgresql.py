"""Asks the site's databases over TLS, by pg8000.

The server's certificate is verified by the name or address by which it is reached.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from socket import socket
from typing import Any, Protocol

import pg8000.native
from pg8000.exceptions import DatabaseError, InterfaceError

from provision.postgresql.names import VERIFY_CERTIFICATE, VERIFY_USER, password_of
from provision.proof import Login, NotProvenError
from provision.secrets import SecretStore

SECONDS = 10


class DatabaseClient:
    """Asks one question over one connection, as ``provision``'s own user.

    A certificate of this user is shown: the server wants both it and the password.

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
        password = self.secrets.read(password_of(VERIFY_USER)).decode()
        login = Login(address, VERIFY_USER, VERIFY_USER, password)
        return ask(login, statement, self._trust(), port=port, **values)

    def _trust(self) -> ssl.SSLContext:
        folder = self.secrets.path
        context = ssl.create_default_context(cafile=str(folder / "site-ca.crt"))
        # No machine has it, so that nobody would notice that it nears its end.
        self.secrets.ensure([VERIFY_CERTIFICATE])
        certificate = folder / f"{VERIFY_CERTIFICATE.name}.crt"
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        return context


def ask(
    login: Login,
    statement: str,
    trust: ssl.SSLContext,
    *,
    port: int = 0,
    connection: socket | None = None,
    **values: Any,
) -> Sequence[Sequence[Any]]:
    """What a database answers.

    Parameters
    ----------
    port
        The server's TCP port at ``login.host``.
    connection
        A connection to the server that is there already, instead of one that is made.

    Raises
    ------
    NotProvenError
        It does not answer, its certificate is not for ``login.host``, or it refuses.
    """
    if connection is not None:
        connection.settimeout(SECONDS)
    try:
        client = pg8000.native.Connection(
            login.user,
            host=login.host,
            port=port,
            database=login.database,
            password=login.password,
            ssl_context=trust,
            timeout=SECONDS,
            application_name=VERIFY_USER,
            sock=connection,
        )
        try:
            rows: Sequence[Sequence[Any]] = client.run(statement, **values)
            return rows
        finally:
            client.close()
    except (DatabaseError, InterfaceError, OSError) as error:
        raise NotProvenError(
            f"the databases at {login.host} do not answer", found=_reason(error)
        ) from error


class _Told(Protocol):
    args: tuple[Any, ...]


def _reason(error: _Told) -> str:
    """The server's own sentence where it said one."""
    told = error.args[0] if error.args else error
    return str(told.get("M", told) if isinstance(told, dict) else error)
