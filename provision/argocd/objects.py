"""Argo CD's objects: what its project publishes, laid over with what the site says."""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from provision.argocd.access import Oidc, Repository, SignOnSecretRef
from provision.argocd.names import ADMIN_HASH, DEX, NAMESPACE
from provision.manifests import Manifest
from provision.merge import deep_merge
from provision.objectsecrets import kept_in_vault, referred, stored
from provision.site import Site

CLUSTER_WIDE = ("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "Namespace")
WORKLOADS = ("Deployment", "StatefulSet")
ANY_VERSION = ("/library/redis:", "/library/haproxy:", "/dexidp/dex:")
"""In references of images: a cache, the way to it, and Dex, of which the bundle has another version
than the project publishes."""
PART_OF = {"app.kubernetes.io/part-of": "argocd"}
KNOWN_HOSTS = "argocd-ssh-known-hosts-cm"
OIDC_SECRET = "oidc.clientSecret"  # noqa: S105 - a key of argocd-secret
RECONCILIATION = "provision/reconciliation"
"""Annotation that makes pods new which read the interval when they start."""

Changes = Mapping[str, Mapping[str, Any]]
"""What is laid over an object, by its kind and name."""


def adapted(
    published: Iterable[Manifest], changes: Changes, images: Iterable[str], *, dex: bool
) -> Iterator[Manifest]:
    """The published objects in their namespace, with ``changes``.

    Parameters
    ----------
    dex
        Whether Dex is wanted.
    images
        References of the bundle's images, among them those of ``ANY_VERSION``.
    """
    instead = {part: image for image in images for part in ANY_VERSION if part in image}
    for item in published:
        name = item["metadata"]["name"]
        if name.startswith(DEX) and not dex:
            continue
        placed = dict(item)
        if item["kind"] not in CLUSTER_WIDE:
            placed["metadata"] = {**item["metadata"], "namespace": NAMESPACE}
        if item["kind"] in WORKLOADS:
            placed = _from_bundle(placed, instead)
        yield deep_merge(placed, changes.get(f"{item['kind']} {name}", {}))


def _from_bundle(workload: Manifest, instead: Mapping[str, str]) -> dict[str, Any]:
    """The workload with images that machines have already."""
    copied = copy.deepcopy(dict(workload))
    pod = copied["spec"]["template"]["spec"]
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        container["imagePullPolicy"] = "IfNotPresent"
        image = container["image"]
        container["image"] = next((have for part, have in instead.items() if part in image), image)
    return copied


def changed_config(
    url: str, reconciliation_seconds: int, oidc: Oidc | None, dex_config: str, site: Site
) -> dict[str, str]:
    """What the site says in ``argocd-cm``."""
    data = {
        "url": url,
        "timeout.reconciliation": f"{reconciliation_seconds}s",
        # Otherwise up to a minute more, by chance.
        "timeout.reconciliation.jitter": "0s",
    }
    if oidc is not None:
        config: dict[str, Any] = {
            "name": oidc.name,
            "issuer": oidc.issuer,
            "clientID": oidc.client_id,
            "clientSecret": f"${OIDC_SECRET}",
            "requestedScopes": list(oidc.scopes),
        }
        if oidc.ca is not None:
            config["rootCA"] = site.resolve(oidc.ca).read_text("utf-8")
        data["oidc.config"] = yaml.safe_dump(config, sort_keys=False)
    if dex_config:
        data["dex.config"] = dex_config
    return data


def secret_data(
    sign_on: Mapping[str, SignOnSecretRef], members: Mapping[str, str], site: Site
) -> dict[str, Any]:
    """What the site says in ``argocd-secret``; the rest of it is Argo CD's own.

    Parameters
    ----------
    sign_on
        Secrets of the sign-on by their keys.
    members
        Addresses of the site's Vault by machine.
    """
    data: dict[str, Any] = {"admin.password": stored(ADMIN_HASH)}
    for key, secret in sign_on.items():
        if secret.vault and secret.field:
            data[key] = kept_in_vault(secret.vault, secret.field, members)
        else:
            data[key] = referred(secret, site)
    return data


def repository_secret(name: str, repository: Repository, site: Site) -> Manifest:
    """The Secret by which Argo CD knows a repository."""
    data: dict[str, Any] = {"type": encoded("git"), "url": encoded(repository.url)}
    if repository.password is not None:
        data["username"] = encoded(repository.username)
        data["password"] = referred(repository.password, site)
    if repository.ssh_key is not None:
        data["sshPrivateKey"] = referred(repository.ssh_key, site)
    kind = "repo-creds" if repository.every else "repository"
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"repository-{name}",
            "namespace": NAMESPACE,
            "labels": {**PART_OF, "argocd.argoproj.io/secret-type": kind},
        },
        "type": "Opaque",
        "data": data,
    }


def authorities(repositories: Iterable[Repository], site: Site) -> dict[str, str]:
    """PEM text by the name of a server whose certificate it is for."""
    found: dict[str, dict[str, None]] = {}
    for one in repositories:
        if one.ca is not None:
            text = site.resolve(one.ca).read_text("utf-8").strip()
            found.setdefault(one.server, {})[text] = None
    return {server: "\n".join(texts) + "\n" for server, texts in found.items()}


def host_keys(repositories: Iterable[Repository], site: Site) -> str:
    """The lines of every file of host keys, each once."""
    files = dict.fromkeys(one.known_hosts for one in repositories if one.known_hosts is not None)
    lines = (line for file in files for line in site.resolve(file).read_text("utf-8").splitlines())
    return "".join(f"{line}\n" for line in dict.fromkeys(line for line in lines if line.strip()))


def known_keys(published: Iterable[Manifest]) -> str:
    """The lines of host keys that Argo CD comes with."""
    return "".join(
        str(item["data"]["ssh_known_hosts"])
        for item in published
        if item["metadata"]["name"] == KNOWN_HOSTS
    )


def encoded(text: str) -> str:
    """A value that is no secret, as Secrets have it."""
    return base64.b64encode(text.encode()).decode("ascii")
