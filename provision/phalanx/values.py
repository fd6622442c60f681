"""What of the site goes into Phalanx's repository and into its static secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from provision.phalanx.names import AUTHORITY, INGRESS_NAMESPACE, ISSUER, MOUNT, OPERATOR

REPLACE = "REPLACE ME"
"""In place of a secret that only the site's administrators have."""
UNUSED = "placeholder"
"""In place of one that the installer insists on and nothing uses."""
SIGN_ON_SECRETS = {
    "github": "github-client-secret",
    "cilogon": "cilogon-client-secret",
    "oidc": "oidc-client-secret",
}
"""Gafaelfawr's static secret, by how people sign on."""

GAFAELFAWR = "gafaelfawr"
"""Phalanx's sign-on service, which every environment has; its database's and role's name too."""
DATABASE_PASSWORD = "database-password"  # noqa: S105 - a name

AUTHORITY_FOLDER = "/etc/site-ca"
AUTHORITY_FILE = "ca.crt"
CREDENTIALS = "vault-credentials"
"""Secret that the installer makes with the AppRole's role id and secret id."""

CERTIFICATE = "ingress-certificate"
"""Secret that ingress-nginx's chart makes of the certificate in Vault."""

NO_YAML = (yaml.YAMLError, ValueError)
"""What YAML's parser raises; the second for a date that there is not, and for what is no UTF-8."""

SignOn = Mapping[str, Any]


def static_secrets(
    sign_on: SignOn, database_password: str = "", *, owned: bool = True
) -> dict[str, Any]:
    """Static secrets that every environment is asked for, to be filled in.

    Parameters
    ----------
    database_password
        Gafaelfawr's in the site's own PostgreSQL; empty where it has no database there.
    owned
        Whether the site's cert_manager makes the platform's certificate; else it is asked for.
    """
    own_argocd = bool(sign_on["argocd_client_id"])
    applications: dict[str, Any] = {
        "argocd": {"dex.clientSecret": {"value": REPLACE if own_argocd else UNUSED}},
        "squareone": {"sentry-dsn": {"value": UNUSED}},
    }
    gafaelfawr = {SIGN_ON_SECRETS[sign_on["kind"]]: {"value": REPLACE}}
    if database_password:
        gafaelfawr[DATABASE_PASSWORD] = {"value": database_password}
    applications[GAFAELFAWR] = gafaelfawr
    if not owned:
        wanted = {name: {"value": REPLACE} for name in ("tls.crt", "tls.key")}
        applications[INGRESS_NAMESPACE] = wanted
    return {"applications": applications, "pull-secret": {"registries": {}}}


def unfilled(static: Mapping[str, Any]) -> list[str]:
    """Static secrets that still wait for their value, ``application key`` each."""
    return [
        f"{application} {key}"
        for application, secrets in sorted(_mapping(static.get("applications")).items())
        for key, secret in sorted(_mapping(secrets).items())
        if _mapping(secret).get("value") in (None, "", REPLACE)
    ]


def missing(static: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What static secrets lack of those that the site is asked for by now, as :func:`unfilled`.

    A file that was written for another sign-on, or for a site with cert_manager, stays as it was.

    Parameters
    ----------
    wanted
        From :func:`static_secrets`.
    """
    has = _mapping(static.get("applications"))
    lacking = [
        f"{application} {key}"
        for application, secrets in sorted(wanted["applications"].items())
        for key, secret in sorted(secrets.items())
        if _is_left_out(_mapping(_mapping(has.get(application)).get(key)), secret)
    ]
    return lacking + [key for key in wanted if key not in static and key != "applications"]


def _is_left_out(secret: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return not secret or (wanted["value"] == REPLACE and secret.get("value") == UNUSED)


def database_password_of(static: Mapping[str, Any]) -> str:
    """The password of Gafaelfawr's database that static secrets have; empty without one."""
    secrets = _mapping(_mapping(static.get("applications")).get(GAFAELFAWR))
    return str(_mapping(secrets.get(DATABASE_PASSWORD)).get("value") or "")


def environment_values(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Values that follow from the site, by the file of Phalanx's repository that they belong into.

    Parameters
    ----------
    facts
        environment, host, vault_url, vault_path, address, storage_class, owned, sign_on,
        database_url (empty where Gafaelfawr's is Phalanx's own PostgreSQL in the cluster), and
        installed (whether Argo CD has applications, and so Gafaelfawr a database with tables).
    """
    environment, host = facts["environment"], facts["host"]
    documents: dict[str, Any] = {
        environment_file(environment): {
            "name": environment,
            "fqdn": host,
            "vaultUrl": facts["vault_url"],
            "vaultPathPrefix": f"{MOUNT}/{facts['vault_path']}",
            "applications": _switches(facts),
        },
        application_file(INGRESS_NAMESPACE, environment): _ingress(facts),
        application_file("argocd", environment): {"argo-cd": _argocd(facts["sign_on"], host)},
    }
    documents[application_file(OPERATOR, environment)] = {OPERATOR: _trusting_operator()}
    if not (url := facts["database_url"]):
        documents[application_file("postgres", environment)] = {
            "gafaelfawr_db": {"user": GAFAELFAWR, "db": GAFAELFAWR},
            **({"postgresStorageClass": name} if (name := facts["storage_class"]) else {}),
        }
    database: dict[str, Any] = {"databaseUrl": url} if url else {"internalDatabase": True}
    sign_on = facts["sign_on"]
    documents[application_file(GAFAELFAWR, environment)] = {
        "config": {
            **database,
            **({} if facts["installed"] else {"updateSchema": True}),
            **({"initialAdmins": admins} if (admins := list(sign_on["admins"])) else {}),
            sign_on["kind"]: dict(_client(sign_on)),
        }
    }
    return documents


def authority_objects(authority: str) -> list[dict[str, Any]]:
    """What the operator needs before its chart is installed: the authority of the site's Vault."""
    metadata = {"name": AUTHORITY, "namespace": OPERATOR}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {AUTHORITY_FILE: authority},
        },
    ]


def values_text(facts: Mapping[str, Any]) -> str:
    """The same as one text, a document a file."""
    issuer = f"# Certificates come from the ClusterIssuer {ISSUER}.\n" if facts["owned"] else ""
    return issuer + "".join(
        f"---\n# {name}\n{yaml.safe_dump(text, sort_keys=False)}"
        for name, text in environment_values(facts).items()
    )


def environment_file(environment: str) -> str:
    """Path of an environment's own values in Phalanx's repository."""
    return f"environments/values-{environment}.yaml"


def application_file(application: str, environment: str) -> str:
    """Path of an application's values for an environment."""
    return f"applications/{application}/values-{environment}.yaml"


def _trusting_operator() -> dict[str, Any]:
    """Values of the operator's chart, whose lists are replaced as a whole."""
    kept = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": CREDENTIALS, "key": name}}}
        for name in ("VAULT_ROLE_ID", "VAULT_SECRET_ID")
    ]
    trust = {"name": "VAULT_CACERT", "value": f"{AUTHORITY_FOLDER}/{AUTHORITY_FILE}"}
    return {
        "environmentVars": [*kept, trust],
        "image": {"volumeMounts": [{"name": AUTHORITY, "mountPath": AUTHORITY_FOLDER}]},
        "volumes": [{"name": AUTHORITY, "configMap": {"name": AUTHORITY}}],
    }


def _switches(facts: Mapping[str, Any]) -> dict[str, bool]:
    """Applications that are on or off for the site's sake."""
    return {
        # Phalanx's own knows no other way than Route 53.
        "cert-manager": False,
        **({} if facts["database_url"] else {"postgres": True}),
    }


def _client(sign_on: SignOn) -> Iterator[tuple[str, str]]:
    yield "clientId", sign_on["client_id"]
    for key, name in (
        ("issuer", "issuer"),
        ("login_url", "loginUrl"),
        ("token_url", "tokenUrl"),
        ("username_claim", "usernameClaim"),
    ):
        if sign_on[key]:
            yield name, sign_on[key]


def _ingress(facts: Mapping[str, Any]) -> dict[str, Any]:
    service = {"loadBalancerIP": facts["address"], "externalTrafficPolicy": "Local"}
    if facts["owned"]:
        return {"ingress-nginx": {"controller": {"service": service}}}
    default = {"default-ssl-certificate": f"{INGRESS_NAMESPACE}/{CERTIFICATE}"}
    return {
        "ingress-nginx": {"controller": {"service": service, "extraArgs": default}},
        "vaultCertificate": {"enabled": True},
    }


def _mapping(found: Any) -> Mapping[str, Any]:
    """What people wrote where a mapping belongs; empty where it is none."""
    return found if isinstance(found, Mapping) else {}


def _argocd(sign_on: SignOn, host: str) -> dict[str, Any]:
    maps = {"url": f"https://{host}/argo-cd"}
    if sign_on["argocd_client_id"]:
        maps["oidc.config"] = _argocd_client(sign_on)
    return {"configs": {"cm": maps}, "server": {"ingress": {"hostname": host}}}


def _argocd_client(sign_on: SignOn) -> str:
    oidc = {
        "name": "OpenID",
        "issuer": sign_on["issuer"],
        "clientID": sign_on["argocd_client_id"],
        "clientSecret": "$dex.clientSecret",
        "requestedScopes": ["openid", "profile", "email", "groups"],
    }
    return yaml.safe_dump(oidc, sort_keys=False)
