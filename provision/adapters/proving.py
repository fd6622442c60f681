"""The ground on which proofs try things out: a namespace of its own in a real cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from secrets import token_hex
from ssl import create_default_context
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import quote

import requests

from provision.adapters.kubeapi import KubernetesApi, message
from provision.adapters.kubernetes import Secrets
from provision.adapters.onmachine.dns import ask
from provision.errors import OperatorError, UnreachableError
from provision.gates import INTERVAL
from provision.phase import Context, Manifest
from provision.proof import Login, NotProvenError, Object
from provision.vault.api import VaultApi

FIELD_MANAGER = "provision-verify"
LABEL = "provision/verify"
GONE_SECONDS = 120
RUN_SECONDS = 20
API_SECONDS = 30
FETCH_SECONDS = 5
LEFT_BEHIND_SECONDS = 3600
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace"}


class ClusterGround:
    """One namespace for one proof.

    Parameters
    ----------
    api
        The cluster's API with the administrator's rights.
    context
        The site and its bundle.
    namespace
        Its name; nothing else may have it.
    secrets
        The site's secret store.
    """

    def __init__(
        self, api: KubernetesApi, context: Context, namespace: str, secrets: Secrets
    ) -> None:
        self.api = api
        self.site_context = context
        self.namespace = namespace
        self.secrets = secrets

    def apply(self, *objects: Manifest) -> None:
        """Make objects; those without a namespace are made in ours."""
        for manifest in objects:
            query = {"fieldManager": FIELD_MANAGER, "force": "true"}
            headers = {"Content-Type": "application/apply-patch+yaml"}
            status, answer = self._request(
                "PATCH", self._path(manifest), body=manifest, query=query, headers=headers
            )
            if status not in (200, 201):
                raise NotProvenError(
                    f"the cluster refuses the {_named(manifest)}", found=message(answer)
                )

    def delete(self, manifest: Manifest) -> None:
        """Delete an object and wait until it is gone."""
        path = self._path(manifest)
        self._request("DELETE", path)
        self.until(
            f"the {_named(manifest)} to go",
            lambda: "" if self._request("GET", path)[0] == 404 else "it is still there",
            GONE_SECONDS,
        )

    def get(self, manifest: Manifest) -> Object:
        """An object as it stands; empty where there is none."""
        status, found = self._request("GET", self._path(manifest))
        return found if status == 200 else {}

    def all(self, api_version: str, kind: str) -> Sequence[Object]:
        """Every object of a kind in the whole cluster; none where the kind is unknown."""
        return self.api.all(api_version, kind)

    def fetch(self, url: str, trust: str = "") -> str:
        """What is at ``url``, as the controller sees it, from outside the cluster.

        Raises
        ------
        NotProvenError
            Nobody answers.
        """
        with (
            NamedTemporaryFile("w", encoding="ascii") as authorities,
            requests.Session() as session,
        ):
            authorities.write(trust)
            authorities.flush()
            # Neither a proxy nor a certificate bundle from the environment.
            session.trust_env = False
            session.verify = authorities.name if trust else True
            try:
                return session.get(url, timeout=FETCH_SECONDS).text
            except requests.exceptions.RequestException as error:
                raise NotProvenError(f"{url} does not answer", found=str(error)) from error

    def addresses(self, server: str, name: str) -> Sequence[str]:
        """What a name server has for ``name``, as the controller sees it; none if it has nothing.

        Raises
        ------
        NotProvenError
            It does not answer.
        """
        answers = ask([f"{server} {name} {kind}" for kind in ("A", "AAAA")]).values()
        for answer in answers:
            if answer["status"] not in ("NOERROR", "NXDOMAIN"):
                raise NotProvenError(f"{server} does not tell {name}", found=answer["status"])
        return [address for answer in answers for address in answer["values"]]

    def until(self, what: str, look: Callable[[], str], seconds: float) -> None:
        """Return once ``look()`` has nothing to object to.

        Raises
        ------
        NotProvenError
            It still had something when the time was over; the error tells the last of it.
        """
        until(what, look, seconds)

    def vault(self, urls: Iterable[str]) -> VaultApi:
        """The active one of the site's Vault's members at ``urls``, logged in.

        Raises
        ------
        VaultRefusalError
            None is.
        """
        # Imported late: most proofs need no Vault.
        from provision.adapters.vault import VaultReader

        return VaultReader(self.secrets).active(urls)

    def authority(self) -> str:
        """The certificate, in PEM, that the site's own servers are trusted by."""
        return self.secrets.read("site-ca.crt").decode()

    def ask(self, pod: str, port: int, login: Login, statement: str) -> Sequence[Sequence[Any]]:
        """What a database answers that a pod of ours hands on to at ``port``.

        Raises
        ------
        NotProvenError
            It does not answer, is not who it should be, or refuses.
        """
        # Imported late: most proofs need no database.
        from provision.adapters.postgresql import ask

        trust = create_default_context(cadata=self.authority())
        with closing(self.api.forward(self.namespace, pod, port)) as connection:
            return ask(login, statement, trust, connection=connection)

    def run(self, pod: str, script: str) -> str:
        """What a shell script prints in a pod of ours; it may take 20 seconds.

        Raises
        ------
        NotProvenError
            It cannot be run, or fails.
        """
        command = ("sh", "-c", script)
        try:
            ended = self.api.execute(self.namespace, pod, "probe", command, RUN_SECONDS)
        except UnreachableError as error:
            raise NotProvenError(error.what, found=error.found) from error
        if ended.code != 0:
            said = (ended.complained or ended.printed).strip()
            raise NotProvenError(
                f"a command in the pod {pod} failed", found=said or f"exit code {ended.code}"
            )
        return ended.printed

    def _request(self, method: str, path: str, **details: Any) -> tuple[int, Any]:
        """A request; an API server that is not there for a moment is waited for."""
        answers: list[tuple[int, Any]] = []

        def look() -> str:
            answers.append(self.api.request(method, path, **details))
            return ""

        self.until("the Kubernetes API", look, API_SECONDS)
        return answers[0]

    def _path(self, manifest: Manifest) -> str:
        kind = (manifest["apiVersion"], manifest["kind"])
        resource = self.api.resources().get(kind)
        if resource is None:
            raise NotProvenError(f"the cluster knows no {' '.join(kind)}")
        metadata = manifest["metadata"]
        return resource.url(metadata["name"], metadata.get("namespace") or self.namespace)


@contextmanager
def proving_ground(
    api: KubernetesApi, context: Context, about: str, secrets: Secrets
) -> Iterator[ClusterGround]:
    """A namespace that is there within the block, and gone after it with all that is in it."""
    ground = ClusterGround(api, context, f"provision-verify-{about}-{token_hex(3)}", secrets)
    space: dict[str, Any] = {
        **NAMESPACE,
        "metadata": {"name": ground.namespace, "labels": {LABEL: about}},
    }
    try:
        ground.apply(space)
        yield ground
    finally:
        ground.delete(space)


def until(what: str, look: Callable[[], str], seconds: float) -> None:
    """Return once ``look()`` has nothing to object to.

    Raises
    ------
    NotProvenError
        It still had something when the time was over; the error tells the last of it.
    """
    deadline = time.monotonic() + seconds
    while seen := _look(look):
        if time.monotonic() >= deadline:
            raise NotProvenError(f"waited {seconds:.0f} s in vain for {what}", found=seen)
        time.sleep(INTERVAL)


def _look(look: Callable[[], str]) -> str:
    """What ``look`` objects to; where it cannot look, that."""
    try:
        return look()
    except OperatorError as error:
        return error.found or error.what


def sweep(api: KubernetesApi, now: datetime) -> None:
    """Delete namespaces that a killed run left behind, an hour and more ago."""
    for space in api.items(f"/api/v1/namespaces?labelSelector={quote(LABEL)}"):
        made = datetime.fromisoformat(space["metadata"]["creationTimestamp"])
        if now - made > timedelta(seconds=LEFT_BEHIND_SECONDS):
            api.request("DELETE", f"/api/v1/namespaces/{space['metadata']['name']}")


def _named(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"
