"""``handoff``: what Phalanx's installer is given, whether all that it needs holds, and its run."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

import yaml

from provision.app import Application
from provision.errors import OperatorError, UsageError
from provision.facts import Query
from provision.locallock import local_lock
from provision.phalanx import clusterside, installer, preflight, vaultside
from provision.phalanx import folder as handed
from provision.phalanx.afterwards import afterwards_rows, installed
from provision.phalanx.branch import branch_rows, deployed_url, origin_of
from provision.phalanx.checkout import checkout_rows
from provision.phalanx.ingress import ingress_row
from provision.phalanx.names import AGAIN, AUTHORITY, IN_CLUSTER_CLASS, ISSUER, OPERATOR
from provision.phalanx.preflight import Row, judged
from provision.phalanx.renewal import renew
from provision.phalanx.sources import source_rows
from provision.phalanx.values import (
    DATABASE_PASSWORD,
    GAFAELFAWR,
    authority_objects,
    database_password_of,
    environment_values,
    missing,
    static_secrets,
    unfilled,
    values_text,
)
from provision.phases.cert_manager import CertManagerSettings
from provision.phases.phalanx import PhalanxSettings, vault_path
from provision.phases.postgresql import PostgresqlSettings, service_host
from provision.phases.shared_storage import SharedStorageSettings
from provision.phases.vault import member_urls, vault_url
from provision.postgresql.names import password_of
from provision.probes import LOOK_UP, WAIT, pod, start
from provision.proof import Cluster, LiveCluster, discover_proofs
from provision.site import Site
from provision.verbs.verify import verify_site

PROMISES = {
    "volume": "local_storage in the site file, then provision up",
    "shared volume": "shared_storage in the site file, then provision up",
    "address": "load_balancer in the site file, then provision up",
    "network policies": "provision up",
    "secret by approle": "provision vault status",
    "egress": "network.egress in the site file: the Git server, registries, chart repositories",
}
"""Proofs of ``provision verify`` that the platform rests on, and what it takes to have each."""
PROOFS = tuple(PROMISES)


@dataclass(frozen=True)
class Handoff:
    """What was written where, and how all that must hold stands."""

    folder: Path
    credentials: str
    """``made`` or ``kept``."""
    rows: Sequence[Row]
    ran: Sequence[str] = ()
    """Commands of the installer that were run."""

    @property
    def good(self) -> bool:
        """Whether everything holds."""
        return all(row.good for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``; no secret is in it."""
        return {
            "folder": str(self.folder),
            "credentials": self.credentials,
            "good": self.good,
            "ran": list(self.ran),
            "rows": [row.as_dict() for row in self.rows],
        }


@dataclass(frozen=True)
class Installer:
    """Phalanx's installer, which is to be run once all that it relies on holds."""

    checkout: Path
    command: str
    """How its command line is run there, such as ``uv run phalanx``."""


def hand_off(
    app: Application,
    output: Path | None,
    *,
    new_credentials: bool = False,
    install: Installer | None = None,
) -> Handoff:
    """Write or renew the folder, try what the installer relies on, and run it if that holds.

    Raises
    ------
    UsageError
        The site is not for Phalanx, the installer's command cannot be one, something else or
        another hand-over is where the folder would be, or new credentials would end others that
        may be in use.
    OperatorError
        Vault or the cluster does not answer, and the folder is as it was; or the installer
        fails.
    """
    if not app.site.has(PhalanxSettings):
        raise UsageError(
            "this site is not for Phalanx",
            where=app.site.name,
            wanted="the key phalanx in the site file",
            fix="phalanx: {environment: NAME, host: FQDN, ingress_address: ADDRESS,"
            " sign_on: {kind: github, client_id: ID}}",
        )
    if install:
        installer.words_of(install.command)
    folder = (output or app.state / "handoff-phalanx").absolute()
    with local_lock(app.state, "provision handoff phalanx"):
        cluster = app.look_over()
        before = handed.earlier(folder)
        handed.refuse_others(folder, before, app.site.name, vault_path(app.site))
        facts = _values(app, cluster)
        api = app.vault.active(member_urls(app.site).values())
        kept = None if new_credentials else _kept(app, api, before, folder)
        told = {
            "path": facts["vault_path"],
            "site": app.site.name,
            "installed": before.get("installed"),
        }
        given, own = renew(api, folder, before, told, kept, partial(_files, app, folder, facts))
        environment = _environment(app, folder, given)
        again = f"provision handoff phalanx --output {quote(str(folder))} --new-credentials"
        rows = [
            replace(row, fix=row.fix.replace(AGAIN, again))
            for row in _rows(app, cluster, api, given, folder)
        ]
        if install:
            settings = app.site.settings(PhalanxSettings)
            rows += [
                *installer.program_rows(install.command, settings.tools.model_dump()),
                *checkout_rows(install.checkout, facts["environment"], environment_values(facts)),
                *branch_rows(install.checkout, settings.git_branch),
                *source_rows(
                    install.checkout,
                    settings.environment,
                    deployed_url(origin_of(install.checkout)),
                    app.site.network.egress,
                ),
            ]
        ran: list[str] = []
        if install and all(row.good for row in rows):
            ran = list(_install(app, install, folder, environment, own))
        if installed(cluster):
            rows += afterwards_rows(cluster, facts["address"])
    return Handoff(folder, "kept" if kept else "made", rows, ran)


def _kept(
    app: Application, api: Any, before: Mapping[str, Any], folder: Path
) -> vaultside.Credentials | None:
    """The credentials of before, if they get in; None where the first ones are to be made."""
    path = vault_path(app.site)
    known = handed.kept_credentials(before)
    others = (app.vault.member(api.url), app.vault.member(api.url))
    if known and vaultside.holds(*others, known):
        return known
    if count := vaultside.secret_ids(api, path):
        raise UsageError(
            "new credentials would end those that a platform may be using; nothing was changed",
            where=str(folder),
            found=f"{count} secret ids of the AppRole {path} in Vault, and "
            + ("what the folder holds does not get in" if known else "none of them in the folder"),
            wanted="the folder of the hand-over before (--output), or the word that they may end",
            fix=f"provision handoff phalanx --output {quote(str(folder))} --new-credentials",
        )
    return None


def _install(
    app: Application,
    install: Installer,
    folder: Path,
    environment: Mapping[str, str],
    own: Mapping[str, Any],
) -> Iterator[str]:
    """Run what is left of the installer; all but the installation itself takes seconds."""
    settings = app.site.settings(PhalanxSettings)
    now = installer.inputs(environment, settings.git_branch)
    for step in installer.steps(settings.environment, settings.git_branch, folder / handed.STATIC):
        done = own["installed"] == now and installed(app.look_over())
        if step.name == installer.INSTALL and done:
            continue
        installer.run(
            step,
            install.command,
            install.checkout,
            environment,
            lambda: app.vault.active(member_urls(app.site).values()).token,
        )
        if step.name == installer.INSTALL:
            handed.note(folder, {**own, "installed": now})
        yield f"phalanx {step.name}"


def render(found: Handoff, again: str) -> Iterator[str]:
    """The table, and what to do next: the command ``again`` where something is bad."""
    width = max(len(row.what) for row in found.rows)
    for row in found.rows:
        yield f"{'ok ' if row.good else 'BAD'}  {row.what:{width}}  {row.found}"
        if not row.good:
            yield f"     {'':{width}}  wanted: {row.wanted}; fix: {row.fix}"
    for command in found.ran:
        yield f"ran: {command}"
    yield f"credentials of Vault were {found.credentials}; all is in {found.folder}"
    bad = sum(not row.good for row in found.rows)
    yield (
        f"next: {found.folder / 'README.md'}"
        if not bad
        else f"not ready for Phalanx ({bad} of {len(found.rows)}); then: {again}"
    )


def _environment(app: Application, folder: Path, given: vaultside.Credentials) -> dict[str, str]:
    settings = app.site.settings(PhalanxSettings)
    return {
        "KUBECONFIG": str(folder / "kubeconfig"),
        "ENV": settings.environment,
        "GIT_BRANCH": settings.git_branch,
        "VAULT_ADDR": vault_url(app.site),
        "VAULT_CACERT": str(folder / "ca.crt"),
        "VAULT_ROLE_ID": given.role_id,
        "VAULT_SECRET_ID": given.secret_id,
        "VAULT_TOKEN": given.token,
    }


def _values(app: Application, cluster: Cluster) -> dict[str, Any]:
    site, settings = app.site, app.site.settings(PhalanxSettings)
    classes = clusterside.storage_classes(cluster)
    defaults = sorted(name for name, default in classes.items() if default)
    return {
        "environment": settings.environment,
        "host": settings.host,
        "vault_url": vault_url(site),
        "vault_path": vault_path(site),
        "address": str(settings.ingress_address),
        "storage_class": "" if IN_CLUSTER_CLASS in classes or not defaults else defaults[0],
        "owned": site.has(CertManagerSettings),
        "database_url": _database_url(site),
        "installed": installed(cluster),
        "sign_on": settings.sign_on.model_dump(),
    }


def _database_url(site: Site) -> str:
    """Of Gafaelfawr's database in the site's own PostgreSQL; empty where it has none there."""
    if not site.has(PostgresqlSettings):
        return ""
    database = site.settings(PostgresqlSettings).databases.get(GAFAELFAWR)
    host = service_host(site)
    port = site.settings(PostgresqlSettings).port
    return f"postgresql://{database.owner}@{host}:{port}/{GAFAELFAWR}" if database else ""


def _database_password(app: Application) -> str:
    """The password of the role that owns it; empty where the site has no such database."""
    if not _database_url(app.site):
        return ""
    owner = app.site.settings(PostgresqlSettings).databases[GAFAELFAWR].owner
    return app.secrets.read(password_of(owner)).decode()


def _static_secrets(app: Application) -> dict[str, Any]:
    """What is asked for, as the site is now."""
    sign_on = app.site.settings(PhalanxSettings).sign_on.model_dump()
    owned = app.site.has(CertManagerSettings)
    return static_secrets(sign_on, _database_password(app), owned=owned)


def _files(
    app: Application,
    folder: Path,
    facts: Mapping[str, Any],
    given: vaultside.Credentials,
    own: Mapping[str, Any],
    static: bytes | None,
) -> dict[str, bytes]:
    site, settings = app.site, app.site.settings(PhalanxSettings)
    kubernetes = str(site.kubernetes.version)  # type: ignore[attr-defined]
    tools = {**settings.tools.model_dump(), "kubectl": kubernetes}
    readme = handed.README.format(
        environment=settings.environment,
        site=site.name,
        branch=settings.git_branch,
        folder=folder,
        host=settings.host,
        address=settings.ingress_address,
        tools=", ".join(f"{name} {version}" for name, version in sorted(tools.items())),
    )
    texts = {
        "environment": handed.environment_text(_environment(app, folder, given)),
        "values.yaml": values_text(facts),
        "versions.yaml": yaml.safe_dump(tools),
        "README.md": readme,
        handed.OWN: json.dumps(own),
    }
    return {
        "ca.crt": app.secrets.read("site-ca.crt"),
        "kubeconfig": _whole_kubeconfig(app),
        handed.STATIC: static or yaml.safe_dump(_static_secrets(app)).encode(),
        **{name: text.encode() for name, text in texts.items()},
    }


def _rows(
    app: Application,
    cluster: LiveCluster,
    api: Any,
    given: vaultside.Credentials,
    folder: Path,
) -> Iterator[Row]:
    settings = app.site.settings(PhalanxSettings)
    owned = app.site.has(CertManagerSettings)
    url = vault_url(app.site)
    seen = app.vault.member(url).member()
    yield preflight.vault_address_row(url, seen)
    # Where it does not answer there, what it holds is judged all the same.
    through = url if seen.serves else api.url
    as_role, as_writer = app.vault.member(through), app.vault.member(through)
    yield from preflight.vault_rows(
        vaultside.facts(api, as_role, as_writer, vault_path(app.site), given)
    )
    yield from preflight.site_rows(_settled(app.site))
    if owned:
        yield preflight.trust_row(app.site.settings(CertManagerSettings).issuers[ISSUER])
    yield from _on_machines(app)
    address = str(settings.ingress_address)
    yield from preflight.cluster_rows(clusterside.facts(cluster, address, owned=owned))
    yield ingress_row(cluster, address, app.ground)
    yield from _in_the_cluster(app)
    static = handed.static(folder)
    waiting = sorted({*unfilled(static), *missing(static, _static_secrets(app))})
    has, password = database_password_of(static), _database_password(app)
    if has and password and has != password:
        waiting.append(f"{GAFAELFAWR} {DATABASE_PASSWORD}, which the site has renewed")
    yield judged(
        "static secrets",
        f"to be filled in or added: {', '.join(waiting)}" if waiting else "all are there",
        "every secret that the site asks for, and none that says REPLACE ME",
        not waiting,
        f"$EDITOR {folder / handed.STATIC}",
    )
    proofs = _proofs(app)
    yield from preflight.proof_rows(proofs)
    for name in PROOFS:
        if not any(proof["proof"].startswith(name) for proof in proofs):
            yield judged(name, "nothing of it on this site", "proven", False, PROMISES[name])


def _whole_kubeconfig(app: Application) -> bytes:
    """The administrator's kubeconfig with what its files hold, so that it can be taken along."""
    data = yaml.safe_load(app.secrets.read("kubeconfig"))
    held = {
        "certificate-authority": "kubernetes/ca.crt",
        "client-certificate": "kubernetes/admin.crt",
        "client-key": "kubernetes/admin.key",
    }
    for part in (*(item["cluster"] for item in data["clusters"]), *(
        item["user"] for item in data["users"]
    )):  # fmt: skip
        for key, secret in held.items():
            if part.pop(key, None) is not None:
                part[f"{key}-data"] = base64.b64encode(app.secrets.read(secret)).decode()
    return yaml.safe_dump(data).encode()


def _settled(site: Site) -> dict[str, Any]:
    """What the site file says of what Phalanx demands."""
    shared = site.settings(SharedStorageSettings) if site.has(SharedStorageSettings) else None
    return {
        "pods": list(map(str, site.network.pods)),
        "services": list(map(str, site.network.services)),
        "root_squash": shared and shared.root_squash,
    }


def _on_machines(app: Application) -> Iterator[Row]:
    query = Query(packages=frozenset({preflight.NFS_CLIENT}))
    read = app.machines.read(dict.fromkeys(app.site.hosts, query))
    lacking = [
        host
        for host, facts in read.items()
        if facts.reachable and facts.observed["packages"][preflight.NFS_CLIENT] is None
    ]
    silent = [host for host, facts in read.items() if not facts.reachable]
    yield from preflight.machine_rows(lacking, silent)


def _in_the_cluster(app: Application) -> Iterator[Row]:
    """Give the operator the authority of the site's Vault, and see what pods resolve."""
    settings = app.site.settings(PhalanxSettings)
    try:
        told = socket.getaddrinfo(settings.host, None, type=socket.SOCK_STREAM)
        outside = sorted({str(item[4][0]) for item in told})
    except socket.gaierror:
        outside = []
    given = failure = ""
    try:
        with app.ground("handoff") as ground:
            ground.apply(*authority_objects(app.secrets.read("site-ca.crt").decode()))
            given = f"ConfigMap {OPERATOR}/{AUTHORITY}"
            start(ground, pod(ground, "ask", WAIT))
            inside = ground.run("ask", LOOK_UP.format(name=settings.host)).split()
    except OperatorError as error:
        inside, failure = [], error.found or error.what
    yield judged("Vault's authority for pods", given or failure,
                 f"ConfigMap {OPERATOR}/{AUTHORITY}", bool(given), "provision status")  # fmt: skip
    names = preflight.name_rows(settings.host, str(settings.ingress_address), outside, inside)
    if failure:
        # A pod that could not ask says nothing of the name.
        what = f"{settings.host} inside"
        names = (one for one in names if one.what != what)
        yield judged(what, failure, "a pod that asks for it", False, "provision status")
    yield from names


def _proofs(app: Application) -> list[dict[str, Any]]:
    components = {phase.name for phase in app.phases}
    known = [proof.name for proof in discover_proofs() if proof.component in components]
    wanted = [name for name in PROOFS if name in known]
    return [asdict(verdict) for verdict in verify_site(app, wanted).verdicts]
