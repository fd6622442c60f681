"""Reads a cluster through its API: nodes, objects, and whether conditions hold.

Nothing here changes anything. Whether an object is as wanted is seen at once where
everything that the manifest says stands there, and nothing else of ours; else it is
asked of the API server, by a server-side apply that is only a dry run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from provision import conditions, manifests
from provision.adapters.keptsecrets import kept_secrets
from provision.adapters.kubeapi import (
    CONNECTIONS,
    FIELD_MANAGER,
    Credentials,
    KubernetesApi,
    Resource,
    message,
    refusal,
)
from provision.argocd.applications import Standing, last_event, standings, unfit
from provision.compare import applied_fields, differing_fields, says_all, within
from provision.errors import SecretsError, UnreachableError, VaultFailureError
from provision.facts import ClusterFacts, NodeFacts, ObjectState
from provision.gates import Condition, judged
from provision.manifests import KindIn, Manifest
from provision.objectsecrets import has_secrets, stored_in, with_secrets

CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"
STATIC_PODS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
OVERLOADED = (429, 503, 504)
"""Answers that say nothing of what was asked."""
Phrases = Iterator[str]


class Secrets(Protocol):
    """What is needed of the secret store."""

    @property
    def path(self) -> Path:
        """Folder of the store."""

    def read(self, name: str) -> bytes:
        """The content of the file ``name``."""

    def sha256(self, name: str) -> str | None:
        """sha256 of the file ``name``, or None while it has to be made or made anew."""


class ClusterReader:
    """Reads the site's cluster.

    Parameters
    ----------
    secrets
        The site's secret store, where the administrator's certificate is.
    """

    def __init__(self, secrets: Secrets) -> None:
        self.secrets = secrets
        self._api: KubernetesApi | None = None

    def read(self, objects: Sequence[Manifest], kinds: Sequence[KindIn] = ()) -> ClusterFacts:
        """Nodes, version, how each of ``objects`` stands, and what there is of ours of ``kinds``.

        Never raises for the cluster's fault. ``ClusterFacts.objects`` is keyed by
        :func:`provision.manifests.key`.
        """
        try:
            api = self.connect()
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                version = pool.submit(api.get, "/version")
                nodes = pool.submit(api.items, "/api/v1/nodes")
                told = version.result()["gitVersion"]
                resources = api.resources() if objects else {}
                states = pool.map(partial(_state, api, self.secrets, resources), objects)
                applied = pool.map(partial(_applied, api, resources), kinds)
                return ClusterFacts(
                    reachable=True,
                    version=str(told).lstrip("v"),
                    nodes={item["metadata"]["name"]: _node(item) for item in nodes.result()},
                    objects={
                        manifests.key(manifest): state
                        for manifest, state in zip(objects, states, strict=True)
                    },
                    applied=dict(zip(kinds, applied, strict=True)),
                )
        except (SecretsError, UnreachableError) as error:
            return ClusterFacts(reachable=False, error=error.found or error.what)

    def conditions(self) -> Mapping[str, Condition]:
        """What can be waited for in a cluster, by name, for :class:`provision.gates.Gates`.

        ``API answers at its endpoint``; ``nodes registered`` and ``nodes
        ready`` (``nodes``); ``control plane pods ready`` (``nodes``); ``system
        pods ready`` (``namespace``); ``workloads rolled out`` (``workloads``:
        kind, namespace and name each); ``applications synced and healthy``
        (``namespace``, and as ``exceptions`` the names that do not count).
        """
        judges: dict[str, Callable[[Mapping[str, Any]], Phrases]] = {
            "API answers at its endpoint": self._api_problems,
            "nodes registered": lambda given: conditions.not_registered(
                self._nodes(), given["nodes"]
            ),
            "nodes ready": lambda given: conditions.not_ready(self._nodes(), given["nodes"]),
            "control plane pods ready": self._static_pod_problems,
            "system pods ready": lambda given: conditions.pods_not_ready(
                self.pods(given.get("namespace", "kube-system"))
            ),
            "workloads rolled out": self._rollout_problems,
            "applications synced and healthy": self._application_problems,
        }
        return {name: partial(judged, judge) for name, judge in judges.items()}

    def connect(self) -> KubernetesApi:
        """The API with the administrator's certificate.

        Raises
        ------
        SecretsError
            The cluster's secrets have not been made yet.
        """
        if self._api is None:
            self._api = KubernetesApi(Credentials.of(self.secrets.path))
        return self._api

    def pods(self, namespace: str) -> Sequence[Mapping[str, Any]]:
        """The pods of a namespace, as the API gives them.

        Raises
        ------
        UnreachableError
            The API does not answer, or refuses.
        """
        return self.connect().items(f"/api/v1/namespaces/{namespace}/pods")

    def applications(self, namespace: str) -> Sequence[Mapping[str, Any]]:
        """Argo CD's applications in a namespace, as the API gives them.

        Raises
        ------
        UnreachableError
            The API does not answer, or knows no such kind.
        """
        path = f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/applications"
        return self.connect().items(path)

    def standings(self, namespace: str) -> Iterator[Standing]:
        """How each of Argo CD's applications in a namespace stands, by name.

        What is not well is told with the last event of the resource that is not.

        Raises
        ------
        UnreachableError
            The API does not answer, or knows no such kind.
        """
        for found in standings(self.applications(namespace)):
            if found.resource is None or not found.resource.namespace:
                yield found
            else:
                events = self.connect().items(
                    f"/api/v1/namespaces/{found.resource.namespace}/events"
                )
                yield replace(found, event=last_event(events, found.resource))

    def _nodes(self) -> Sequence[Mapping[str, Any]]:
        return self.connect().items("/api/v1/nodes")

    def _api_problems(self, _: Mapping[str, Any]) -> Phrases:
        self.connect().get("/version")
        yield from ()

    def _static_pod_problems(self, given: Mapping[str, Any]) -> Phrases:
        wanted = [f"{pod}-{node}" for node in given["nodes"] for pod in STATIC_PODS]
        pods = [pod for pod in self.pods("kube-system") if pod["metadata"]["name"] in wanted]
        return conditions.pods_not_ready(pods, wanted)

    def _rollout_problems(self, given: Mapping[str, Any]) -> Phrases:
        for workload in given["workloads"]:
            plural = f"{workload['kind'].lower()}s"
            path = f"/apis/apps/v1/namespaces/{workload['namespace']}/{plural}/{workload['name']}"
            status, found = self.connect().request("GET", path)
            if status == 200:
                yield from conditions.rollout_problems(found)
            else:
                yield f"{workload['kind']} {workload['name']}: {message(found)}"

    def _application_problems(self, given: Mapping[str, Any]) -> Phrases:
        found = self.standings(given["namespace"])
        return (str(one) for one in unfit(found, given["exceptions"]))


def _node(item: Mapping[str, Any]) -> NodeFacts:
    metadata, spec = item["metadata"], item.get("spec", {})
    labels = metadata.get("labels", {})
    return NodeFacts(
        name=metadata["name"],
        ready=conditions.is_true(item, "Ready"),
        kubelet_version=item["status"]["nodeInfo"]["kubeletVersion"].lstrip("v"),
        control_plane=CONTROL_PLANE_LABEL in labels,
        labels=labels,
        taints=[
            f"{taint['key']}={taint.get('value', '')}:{taint['effect']}"
            for taint in spec.get("taints", ())
        ],
    )


def _state(
    api: KubernetesApi,
    secrets: Secrets,
    resources: Mapping[tuple[str, str], Resource],
    manifest: Manifest,
) -> ObjectState:
    """How one object stands against its manifest."""
    resource = resources.get((manifest["apiVersion"], manifest["kind"]))
    if resource is None:
        return ObjectState(exists=False)
    metadata = manifest["metadata"]
    path = resource.url(metadata["name"], metadata.get("namespace"))
    status, live = api.request("GET", path)
    if status == 404:
        return ObjectState(exists=False)
    if status != 200:
        raise refusal(api, path, status, live)
    if within(manifest, live) and says_all(manifest, applied_fields(live, FIELD_MANAGER)):
        return ObjectState(exists=True)
    query = {"fieldManager": FIELD_MANAGER, "force": "true", "dryRun": "All"}
    headers = {"Content-Type": "application/apply-patch+yaml"}
    try:
        whole = with_secrets(manifest, secrets, kept_secrets(secrets))
        due = [key for key, name in stored_in(manifest).items() if secrets.sha256(name) is None]
    except SecretsError as error:
        return ObjectState(exists=True, differences=[f"data ({error.what})"])
    except (UnreachableError, VaultFailureError):
        # Nothing stops for a Vault that is sealed; whoever keeps secrets there says that it is.
        return ObjectState(exists=True)
    if due:
        return ObjectState(exists=True, differences=[f"data.{key} (made anew)" for key in due])
    status, applied = api.request("PATCH", path, body=whole, query=query, headers=headers)
    if status in OVERLOADED:
        raise refusal(api, path, status, applied)
    if status != 200:
        # A refusal may repeat what it refuses.
        why = "" if has_secrets(manifest) else f": {message(applied)}"
        return ObjectState(exists=True, differences=[f"(refused{why})"])
    return ObjectState(exists=True, differences=differing_fields(live, applied))


def _applied(
    api: KubernetesApi, resources: Mapping[tuple[str, str], Resource], kind: KindIn
) -> list[str]:
    """Names of the objects of a kind that we applied; none while the cluster has no such kind."""
    resource = resources.get((kind.api_version, kind.kind))
    if resource is None:
        return []
    listed = api.metadata(resource.list_url(kind.namespace))
    return [item["metadata"]["name"] for item in listed if applied_fields(item, FIELD_MANAGER)]
