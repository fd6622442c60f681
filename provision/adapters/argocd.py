"""Argo CD's own API, as its user ``admin``.

What only Argo CD knows comes from here: what a repository renders to, and how the
cluster differs from that. Its address is the load balancer's, and its certificate is
the site's own or one that everyone trusts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from ssl import create_default_context
from typing import Any
from urllib.parse import quote, urlencode

import urllib3

from provision.errors import OperatorError, UnreachableError, UsageError
from provision.site import Address

CONNECT_SECONDS = 6.0
READ_SECONDS = 120.0
"""Argo CD answers once it has looked at the repository, which it gives 90 seconds itself."""
AGAIN = "provision up --only argocd"
Object = Mapping[str, Any]


class ArgocdApi:
    """Requests to the site's Argo CD.

    Parameters
    ----------
    address, host
        Where it is, and the name that its certificate is for.
    authority
        Certificate in PEM that is trusted besides those that this machine trusts.
    password
        Of ``admin``.

    Raises
    ------
    UnreachableError
        It does not answer, or does not know the password.
    """

    def __init__(self, address: Address, host: str, authority: str, password: str) -> None:
        trust = create_default_context()
        trust.load_verify_locations(cadata=authority)
        self.host = host
        self._pool = urllib3.HTTPSConnectionPool(
            str(address),
            443,
            ssl_context=trust,
            server_hostname=host,
            assert_hostname=host,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        )
        # It refuses whatever does not say that it is JSON, against forged requests of browsers.
        json_only = dict.fromkeys(("Accept", "Content-Type"), "application/json")
        self._headers = {"Host": host, **json_only}
        told = self._ask("POST", "/session", {"username": "admin", "password": password})
        self._headers["Authorization"] = f"Bearer {told['token']}"

    def applications(self) -> Sequence[Object]:
        """Every application; raises as :meth:`application` does."""
        listed: Sequence[Object] = self._ask("GET", "/applications").get("items") or ()
        return listed

    def application(self, name: str, *, refresh: bool = False) -> Object:
        """One application; with ``refresh`` after a look at its repository.

        Raises
        ------
        UsageError
            There is no such application.
        UnreachableError
            Argo CD does not answer, or refuses.
        """
        query = {"refresh": "normal"} if refresh else {}
        return self._ask("GET", f"/applications/{quote(name)}", query=query)

    def managed(self, name: str) -> Sequence[Object]:
        """Objects of an application: live and wanted; raises as :meth:`application` does."""
        told = self._ask("GET", f"/applications/{quote(name)}/managed-resources")
        listed: Sequence[Object] = told.get("items") or ()
        return listed

    def sync(self, name: str, *, prune: bool) -> bool:
        """Ask for a synchronisation; False where another one goes on.

        Raises as :meth:`application` does.
        """
        try:
            self._ask("POST", f"/applications/{quote(name)}/sync", {"prune": prune})
        except UnreachableError as error:
            if "another operation is already in progress" in error.found:
                return False
            raise
        return True

    def _ask(
        self, method: str, path: str, body: Object | None = None, query: Object | None = None
    ) -> Object:
        url = f"/api/v1{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            answer = self._pool.request(
                method,
                url,
                headers=self._headers,
                body=None if body is None else json.dumps(body),
            )
            told: Object = json.loads(answer.data)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(
                "Argo CD does not answer",
                where=f"https://{self.host} at {self._pool.host}",
                found=str(error),
                fix=f"see how it stands: provision status; put it right: {AGAIN}",
            ) from error
        except ValueError as error:
            raise UnreachableError(
                "what answers is not Argo CD",
                where=f"https://{self.host} at {self._pool.host}",
                found=answer.data[:80].decode(errors="replace"),
                fix="see that argocd.address belongs to it: provision plan",
            ) from error
        if answer.status != 200:
            raise self._refusal(path, answer.status, str(told.get("message", "")))
        return told

    def _refusal(self, path: str, status: int, message: str) -> OperatorError:
        where = f"https://{self.host}"
        if status == 401:
            return UnreachableError(
                "Argo CD does not take the site's password of admin",
                where=where,
                found=message,
                why="it was changed there, or has just been changed here",
                fix=AGAIN,
            )
        if path.startswith("/applications/") and status in (403, 404):
            # admin may do everything: 403 is how Argo CD hides whether a name exists.
            name = path.split("/")[2]
            return UsageError(
                f"Argo CD has no application {name}", where=where, fix="provision platform status"
            )
        return UnreachableError(
            f"Argo CD refuses {path}", where=where, found=f"{status} {message}".strip()
        )
