"""The Kubernetes API over HTTPS with a client certificate.

Objects travel as they are, through urllib3, which is also what the ``kubernetes``
package sends its requests by. Importing that package takes half as long as a run
with nothing to do, so only commands in pods, which need its protocol, go through it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from threading import Lock
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
import yaml

from provision.adapters.forwarding import carry
from provision.errors import SecretsError, UnreachableError

CONNECT_SECONDS = 6.0
"""Until TLS stands, as urllib3 counts it: an API server that is busy may take seconds for that,
and the balancer needs two to find that a machine behind it has died."""
READ_SECONDS = 10.0
EXEC_SECONDS = 10
CONNECTIONS = 6
ASKED_AGAIN = urllib3.Retry(
    total=None,
    connect=False,
    read=False,
    redirect=False,
    other=False,
    status=10,
    status_forcelist=(429,),
    allowed_methods=None,
    raise_on_status=False,
)
"""As Kubernetes' own clients do: an API server that has not read a kind's objects yet, or has too
much to do, answers 429 and after how many seconds (one, mostly) it wants to be asked again."""
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
METADATA = "application/json;g=meta.k8s.io;v=v1;as=PartialObjectMetadataList"
FIELD_MANAGER = "provision"
"""Who Kubernetes notes as the manager of the fields that we set."""
_importing = Lock()


@dataclass(frozen=True)
class Credentials:
    """How the API is reached: its URL, and files with certificates and key."""

    server: str
    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def of(cls, secrets: Path) -> Credentials:
        """From the site's secret store.

        Raises
        ------
        SecretsError
            The cluster's secrets have not been made yet.
        """
        kubeconfig = secrets / "kubeconfig"
        if not kubeconfig.exists():
            raise SecretsError(
                "there is no cluster yet: its secrets have not been made", where=str(kubeconfig)
            )
        data = yaml.safe_load(kubeconfig.read_text("utf-8"))
        return cls(
            server=data["clusters"][0]["cluster"]["server"],
            ca=secrets / "kubernetes/ca.crt",
            certificate=secrets / "kubernetes/admin.crt",
            key=secrets / "kubernetes/admin.key",
        )


@dataclass(frozen=True)
class Resource:
    """One kind of object as the API serves it."""

    path: str
    """``/api/v1`` or ``/apis/GROUP/VERSION``."""
    plural: str
    namespaced: bool

    def url(self, name: str, namespace: str | None) -> str:
        """Path of one object."""
        return f"{self.list_url(namespace)}/{quote(name)}"

    def list_url(self, namespace: str | None) -> str:
        """Path of all objects, in one namespace where they are in any."""
        below = f"/namespaces/{quote(namespace or 'default')}" if self.namespaced else ""
        return f"{self.path}{below}/{self.plural}"


@dataclass(frozen=True)
class Executed:
    """How a command in a pod ended."""

    code: int
    printed: str
    complained: str


class KubernetesApi:
    """Requests to one cluster. Threads may share it."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self._pool = urllib3.PoolManager(
            maxsize=CONNECTIONS,
            block=True,
            ca_certs=str(credentials.ca),
            cert_file=str(credentials.certificate),
            key_file=str(credentials.key),
            retries=ASKED_AGAIN,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Status and decoded answer of one request.

        Raises
        ------
        UnreachableError
            There is no answer, or none that is JSON.
        """
        url = self.credentials.server + path + (f"?{urlencode(query)}" if query else "")
        try:
            answer = self._pool.request(
                method,
                url,
                headers={"Accept": "application/json", **(headers or {})},
                body=None if body is None else json.dumps(body),
            )
            text = answer.data
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(
                "the Kubernetes API does not answer",
                where=self.credentials.server,
                found=_reason(error),
                fix="provision status",
            ) from error
        try:
            return answer.status, json.loads(text)
        except ValueError as error:
            raise UnreachableError(
                "what answers is not the Kubernetes API",
                where=self.credentials.server,
                found=text[:80].decode(errors="replace"),
            ) from error

    def execute(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        seconds: float = EXEC_SECONDS,
    ) -> Executed:
        """Run a command in a container of a pod.

        Raises
        ------
        UnreachableError
            The API or the machine's kubelet does not let it through, or it takes too long.
        """
        # Two threads that begin with it at once would each see the other's half of the package.
        with _importing:
            from kubernetes.client.exceptions import ApiException
            from kubernetes.stream.ws_client import websocket_call

        # The package's own method for it imports every kind of object that there is, which takes
        # a second; this is what it then calls.
        url = f"{self.credentials.server}/api/v1/namespaces/{namespace}/pods/{pod}/exec"
        asked = [("container", container), ("stdout", "true"), ("stderr", "true")]
        asked += [("command", word) for word in command]
        try:
            answer = websocket_call(  # type: ignore[no-untyped-call]  # published without types
                self._configuration(), "GET", url, query_params=asked, _preload_content=False
            )
            answer.run_forever(timeout=seconds)
            printed = str(answer.read_stdout(timeout=1) or "")
            complained = str(answer.read_stderr(timeout=1) or "")
            code = answer.returncode
        except (ApiException, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise UnreachableError(
                f"a command cannot be run in the pod {pod}", found=str(reason)
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            # The package reads the exit code from a closing word that never came.
            raise UnreachableError(
                f"a command in the pod {pod} was cut off", found=complained or "no exit code"
            ) from error
        if code is None:
            raise UnreachableError(
                f"a command in the pod {pod} takes too long", wanted=f"{seconds:.0f} s at most"
            )
        return Executed(code, printed, complained)

    def forward(self, namespace: str, pod: str, port: int) -> socket:
        """A connection to a port of a pod; closing it ends what carries it.

        Raises
        ------
        UnreachableError
            The API does not let it through.
        """
        with _importing:
            from kubernetes.stream.ws_client import create_websocket, get_websocket_url
            from websocket import WebSocketException

        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward"
        try:
            url = get_websocket_url(  # type: ignore[no-untyped-call]  # published without types
                f"{self.credentials.server}{path}", [("ports", str(port))]
            )
            frames = create_websocket(  # type: ignore[no-untyped-call]  # likewise
                self._configuration(), url
            )
        except (WebSocketException, OSError) as error:
            raise UnreachableError(
                f"the pod {pod} cannot be connected to", found=str(error)
            ) from error
        return carry(frames)

    def _configuration(self) -> Any:
        """What commands and connections, which go through the package, need to know."""
        from kubernetes.client import Configuration

        configuration = Configuration()
        configuration.ssl_ca_cert = str(self.credentials.ca)
        configuration.cert_file = str(self.credentials.certificate)
        configuration.key_file = str(self.credentials.key)
        return configuration

    def get(self, path: str, accept: str = "application/json") -> Any:
        """The answer to a reading request.

        Raises
        ------
        UnreachableError
            There is no answer, or a refusal.
        """
        status, answer = self.request("GET", path, headers={"Accept": accept})
        if status != 200:
            raise refusal(self, path, status, answer)
        return answer

    def items(self, path: str) -> Sequence[Mapping[str, Any]]:
        """The items of a list; raises as :meth:`get` does."""
        items: Sequence[Mapping[str, Any]] = self.get(path)["items"]
        return items

    def metadata(self, path: str) -> Sequence[Mapping[str, Any]]:
        """The items of a list with their metadata alone; raises as :meth:`get` does."""
        # An empty list of these is null.
        items: Sequence[Mapping[str, Any]] | None = self.get(path, METADATA)["items"]
        return items or ()

    def all(self, api_version: str, kind: str) -> Sequence[Mapping[str, Any]]:
        """Every object of a kind; none where the kind is unknown; raises as :meth:`get` does."""
        resource = self.resources().get((api_version, kind))
        return [] if resource is None else self.items(f"{resource.path}/{resource.plural}")

    def kubelet_configuration(self, node: str) -> Mapping[str, Any]:
        """What the kubelet of a machine runs with; raises as :meth:`get` does."""
        told = self.get(f"/api/v1/nodes/{quote(node)}/proxy/configz")
        configuration: Mapping[str, Any] = told["kubeletconfig"]
        return configuration

    def resources(self) -> dict[tuple[str, str], Resource]:
        """What is served, by apiVersion and kind; two requests, whatever there is."""
        found: dict[tuple[str, str], Resource] = {}
        for top in ("/api", "/apis"):
            _, listed = self.request("GET", top, headers={"Accept": DISCOVERY})
            for group in listed.get("items", ()):
                found.update(_group_resources(group))
        return found


def refusal(api: KubernetesApi, path: str, status: int, answer: Any) -> UnreachableError:
    """The error for an answer that is a refusal, or no answer at all."""
    return UnreachableError(
        f"the Kubernetes API refuses {path}",
        where=api.credentials.server,
        found=f"{status} {message(answer)}",
    )


def message(answer: Any) -> str:
    """What a refusal says."""
    return str(answer.get("message", "")) if isinstance(answer, Mapping) else ""


def _group_resources(group: Mapping[str, Any]) -> dict[tuple[str, str], Resource]:
    name = group.get("metadata", {}).get("name", "")
    found = {}
    for version in group["versions"]:
        group_version = f"{name}/{version['version']}" if name else version["version"]
        path = f"/apis/{group_version}" if name else f"/api/{group_version}"
        for item in version.get("resources", ()):
            kind = item.get("responseKind", {}).get("kind")
            if kind:
                namespaced = item["scope"] == "Namespaced"
                found[group_version, kind] = Resource(path, item["resource"], namespaced)
    return found


def _reason(error: BaseException) -> str:
    """The innermost cause, which says most."""
    while isinstance(reason := getattr(error, "reason", None), BaseException):
        error = reason
    reason = getattr(error, "reason", None)
    if isinstance(reason, str) and reason.strip():
        # The package's own words stand on several lines, the last of which says most.
        return reason.strip().splitlines()[-1]
    text = str(error.args[-1]) if error.args else str(error)
    return text.rpartition(": ")[2] if "Connection object at" in text else text
