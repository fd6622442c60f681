"""Vault: a pod logs in and reads a secret, over TLS that it verifies by the site's authority."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from shlex import quote
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from provision.kubeadm.reviews import reviewable
from provision.phases.vault import VaultSettings, member_urls, vault_url
from provision.phases.vault_kubernetes import VaultKubernetesSettings
from provision.probes import WAIT, pod, start
from provision.proof import NotProvenError, Proof
from provision.vault.trial import TOKEN_SECONDS, Trial, sweep, trial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provision.proof import Cluster, Ground
    from provision.site import Site
    from provision.vault.api import VaultApi

IMAGE = "quay.io/cilium/cilium:"
"""On every machine anyway, and with openssl: a busybox verifies no certificate."""
CLIENT = "client"
LOGIN = "/login"
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
READ_SECONDS = 30

APPROLE_BODY = (
    '{"role_id":"%s","secret_id":"%s"}\' "$(cat /login/role-id)" "$(cat /login/secret-id)"'
)
KUBERNETES_BODY = f'{{"role":"%s","jwt":"%s"}}\' "$role" "$(cat {SERVICE_ACCOUNT}/token)"'

READ = r"""
set -eu
ask() {
    {
        printf '%s /v1/%s HTTP/1.0\r\nHost: %s\r\n' "$1" "$2" "$host"
        [ -z "$3" ] || printf 'X-Vault-Token: %s\r\n' "$3"
        printf 'Content-Length: %s\r\n\r\n%s' "${#4}" "$4"
    } | openssl s_client -quiet -verify_quiet -verify_return_error -CAfile /login/ca.crt \
        "$check" "$host" -connect "$server"
}
of() {
    printf '%s' "$2" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}
refused() {
    printf '%s' "$1" | sed -n 's/.*"errors":/Vault refuses: /p' >&2
    exit 1
}
body=$(printf 'BODY)
answer=$(ask POST "auth/$method/login" '' "$body")
token=$(of client_token "$answer")
[ -n "$token" ] || refused "$answer"
answer=$(ask GET "$path" "$token" '')
value=$(of value "$answer")
[ -n "$value" ] || refused "$answer"
printf '%s' "$value" | sha256sum | cut -d ' ' -f 1
"""
"""Shell functions and what is built into the shell have no arguments that others could see."""


class AppRoleProof(Proof):
    """A pod logs in by AppRole, with ids that it has from a Secret."""

    name = "secret by approle"
    component = "vault"

    def prove(self, ground: Ground, case: str) -> str:
        """Make a role, give its ids to a pod, and have the secret read."""
        del case
        api = _vault(ground)
        with trial(api, ground.namespace, "approle", {"secret_id_ttl": TOKEN_SECONDS}) as wanted:
            role = f"auth/approle/role/{wanted.role}"
            ids = {
                "role-id": (api.read(f"{role}/role-id") or {})["role_id"],
                "secret-id": api.write(f"{role}/secret-id", {})["secret_id"],
            }
            return _read(ground, wanted, "approle", APPROLE_BODY, ids)


class ServiceAccountProof(Proof):
    """A pod logs in by the token of its service account."""

    name = "secret by account"
    component = "vault_kubernetes"

    def cases(self, cluster: Cluster, site: Site) -> Sequence[str]:
        """Only where there is a Vault to log in to."""
        del cluster
        return ("",) if site.has(VaultSettings) else ()

    def prove(self, ground: Ground, case: str) -> str:
        """Let tokens of the namespace's own account be reviewed, and have the secret read."""
        del case
        account = "default"
        options = {
            "bound_service_account_names": [account],
            "bound_service_account_namespaces": [ground.namespace],
            "audience": ground.site_context.site.settings(VaultKubernetesSettings).audience,
        }
        binding = reviewable(ground.namespace, [(ground.namespace, account)])
        ground.apply(_owned(binding, ground))
        try:
            with trial(_vault(ground), ground.namespace, "kubernetes", options) as wanted:
                return _read(ground, wanted, "kubernetes", KUBERNETES_BODY, {})
        finally:
            ground.delete(binding)


def _vault(ground: Ground) -> VaultApi:
    api = ground.vault(member_urls(ground.site_context.site).values())
    sweep(api, datetime.now(UTC))
    return api


def _owned(binding: Mapping[str, Any], ground: Ground) -> dict[str, Any]:
    """The binding, which goes with the namespace where nobody is left to take it away."""
    space = ground.get(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ground.namespace}}
    )
    owner = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "name": ground.namespace,
        "uid": space["metadata"]["uid"],
    }
    return {**binding, "metadata": {**binding["metadata"], "ownerReferences": [owner]}}


def _read(ground: Ground, wanted: Trial, method: str, body: str, ids: Mapping[str, str]) -> str:
    """Have a pod log in and read; what was seen."""
    context = ground.site_context
    held = {"ca.crt": ground.authority(), **ids}
    ground.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": CLIENT},
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in held.items()},
        }
    )
    start(ground, pod(ground, CLIENT, WAIT, image_of=IMAGE, secrets={LOGIN: CLIENT}))
    url = vault_url(context.site)
    address = urlsplit(url)
    host = address.hostname or ""
    given = {
        "host": host,
        "server": address.netloc,
        "check": "-verify_hostname" if _is_name(host) else "-verify_ip",
        "method": method,
        "role": wanted.role,
        "path": wanted.path,
    }
    lines = "".join(f"{name}={quote(value)}\n" for name, value in given.items())
    script = lines + READ.replace("BODY", body)
    read: list[str] = []

    def look() -> str:
        read.append(ground.run(CLIENT, script).strip())
        return ""

    # A right that was just given is known to the API server a moment later.
    ground.until("the pod to read its secret", look, READ_SECONDS)
    if read != [wanted.digest]:
        raise NotProvenError("the pod read something else", found=f"sha256 {read[-1]}")
    return f"a pod logged in at {url} and read its secret"


def _is_name(host: str) -> bool:
    return ":" not in host and not host.replace(".", "").isdigit()
