"""The composition root: the only place that builds adapters and hands them out."""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from provision import leftovers
from provision.adapters.ansible import AnsibleRunner
from provision.adapters.connection import Connections
from provision.adapters.etcd import EtcdReader
from provision.adapters.pyinfra import PyinfraMachines
from provision.argocd.names import ADMIN_PASSWORD, NAMESPACE, TLS
from provision.errors import BundleError, ConfigError, FindingsError, SecretsError
from provision.explain import located, site_error
from provision.facts import ClusterFacts, Facts, Query, ServiceQuery
from provision.inventory import ControllerPaths, machine_variables
from provision.leftovers import Leftover
from provision.manifests import KindIn
from provision.paths import cache_path, state_path
from provision.phase import AnsiblePhase, Context, Phase
from provision.plan import discover, on_request, phases_of, settings_models
from provision.privatefiles import make_folder
from provision.reveal import reveal
from provision.secrets import SecretStore
from provision.site import Address, LoadedSite, OsPackages, SecretRef, Site, site_model, validated
from provision.state import declared_packages
from provision.worker import Worker, start_worker
from provision.yamlfile import YamlFile, read_yaml

if TYPE_CHECKING:
    from provision.adapters.argocd import ArgocdApi
    from provision.adapters.hostkeys import UnknownHostKey
    from provision.adapters.kubernetes import ClusterReader
    from provision.adapters.vault import VaultReader
    from provision.adapters.vaultsecrets import VaultSecrets
    from provision.bundle import Bundle
    from provision.engine import GateKeeper
    from provision.proof import Ground, LiveCluster, Outside

SITE_FILE = "site.yaml"
SITE_MARKER = "/var/lib/provision/site"
"""File on a machine that names the site it belongs to."""
NOTHING = Query()


def find_site(given: str | None) -> Path:
    """The site file that ``--site`` means: a file, a folder, or a name under ``inventory/``.

    Without ``--site``: ``PROVISION_SITE``, or ``site.yaml`` here.

    Raises
    ------
    ConfigError
        There is no such file.
    """
    wanted = given or os.environ.get("PROVISION_SITE") or SITE_FILE
    candidates = [Path(wanted), Path(wanted) / SITE_FILE, Path("inventory") / wanted / SITE_FILE]
    for path in candidates:
        if path.is_file():
            return path
    present = sorted(str(path) for path in Path("inventory").glob(f"*/{SITE_FILE}"))
    raise ConfigError(
        "there is no site file",
        where=wanted,
        wanted=", ".join(map(str, candidates[:1] if given is None else candidates)),
        found=f"these are here: {', '.join(present)}" if present else "",
        fix=f"provision plan --site {present[0]}" if present else "provision init",
    )


def read_site(path: Path) -> LoadedSite:
    """Read a site file and let every component judge its part of it."""
    return judged(read_yaml(path))


def judged(source: YamlFile) -> LoadedSite:
    """The site of a YAML file, every component having judged its part of it.

    Raises
    ------
    ConfigError
        All that is wrong with it.
    """
    loaded = validated(source, site_model(settings_models(discover())))
    problems = [
        located(problem, loaded.file)
        for phase in phases_of(loaded.site)
        for problem in phase.validate_site(loaded.site)
    ]
    if problems:
        raise site_error(problems)
    return loaded


def _refuse_unknown_version(kubernetes: str) -> None:
    from provision.bundle.catalog import catalog

    known = catalog().kubernetes_versions()
    if kubernetes not in known:
        raise ConfigError(
            "the catalog does not have this version of Kubernetes, and no bundle here has it",
            where="kubernetes.version",
            found=kubernetes,
            wanted=f"one of: {', '.join(known)}",
            fix="correct it in the site file, or name a bundle that has it: bundle.path",
        )


def _refuse_unknown_components(requested: Iterable[str]) -> None:
    from provision.bundle.catalog import catalog

    catalog().refuse_unknown(requested, "the site file")


def _phase(name: str) -> Phase:
    return next(phase for phase in discover() if phase.name == name)


class Application:
    """One site with everything that works on it, built when first needed.

    Parameters
    ----------
    site
        A site that was read and found consistent.
    confirm_host_key
        Asks the operator about a machine's unknown host key; without it an
        unknown key is refused.
    worker
        The process that reads machines, where it was started already.
    """

    def __init__(
        self,
        site: Site,
        confirm_host_key: Callable[[UnknownHostKey], bool] | None = None,
        worker: Worker | None = None,
    ) -> None:
        self.site = site
        self.worker = worker
        self.phases: tuple[Phase, ...] = phases_of(site)
        self.confirm_host_key = confirm_host_key
        self._revealed: dict[SecretRef, str] = {}
        self._asking = Lock()

    @cached_property
    def state(self) -> Path:
        """Folder of the site's secrets, journals and working files; 0700."""
        path = state_path(self.site.name)
        make_folder(path, "the folder for the site's secrets and journals cannot be made")
        return path

    @cached_property
    def secrets(self) -> SecretStore:
        """The site's secret store."""
        specs = [spec for phase in self.phases for spec in phase.secrets(self.site)]
        return SecretStore(self.state / "secrets", specs=specs, site=self.site.name)

    @cached_property
    def bundle_path(self) -> Path:
        """Folder of the bundle that the site uses."""
        if self.site.bundle.path is not None:
            return self.site.resolve(self.site.bundle.path)
        from provision.bundle import Bundle

        architectures = {host.architecture.value for host in self.site.hosts.values()}
        try:
            return Bundle.find(
                cache_path() / "bundles",
                self.kubernetes_version,
                architectures.pop() if len(architectures) == 1 else None,
                os_packages=self.site.os_packages is OsPackages.BUNDLE,
                versions=self.site.bundle.versions,
                requested=self.on_request,
            )
        except BundleError:
            _refuse_unknown_version(self.kubernetes_version)
            _refuse_unknown_components(self.on_request)
            raise

    @cached_property
    def trusted_keys(self) -> tuple[Path, ...]:
        """Public keys whose signature on a bundle is believed."""
        return tuple(self.site.resolve(key) for key in self.site.bundle.trusted_keys)

    @cached_property
    def opened_bundle(self) -> Bundle:
        """The bundle, its signature and lock verified, whatever it lacks.

        Raises
        ------
        BundleError
            It is missing or not to be trusted.
        """
        from provision.bundle import Bundle

        return Bundle.open(self.bundle_path, self.trusted_keys)

    @cached_property
    def bundle(self) -> Bundle:
        """The bundle, its signature and lock verified, with all that the site needs on request.

        Raises
        ------
        BundleError
            It is missing, not to be trusted, or without something that has to be asked for.
        """
        self.require(self.opened_bundle)
        return self.opened_bundle

    def require(self, bundle: Bundle) -> None:
        """Refuse a bundle that lacks something that the site names.

        Raises
        ------
        BundleError
            It has other versions, or is without something that has to be asked for, or nothing
            of that name can be had.
        """
        bundle.require_versions(self.site.bundle.versions)
        if not set(self.on_request) <= set(bundle.versions):
            # Only then: it takes half a second.
            _refuse_unknown_components(self.on_request)
        bundle.require(self.on_request)

    @property
    def on_request(self) -> tuple[str, ...]:
        """What the site's components are made of that a bundle has only on request."""
        return on_request(self.site)

    @property
    def role_packages(self) -> frozenset[str]:
        """Debian packages that the roles of the site's components may install."""
        roles = [phase.role for phase in self.phases if isinstance(phase, AnsiblePhase)]
        return frozenset(name for role in roles for name in declared_packages(role))

    @property
    def kubernetes_version(self) -> str:
        """Version of Kubernetes that the site file names."""
        return str(self.site.kubernetes.version)  # type: ignore[attr-defined]

    @cached_property
    def connections(self) -> Connections:
        """How each machine is reached; the files it names are checked."""
        connections = Connections(self.site, self.state)
        connections.check()
        return connections

    @cached_property
    def machines(self) -> PyinfraMachines:
        """Reads machines; close it when done."""
        connections = self.connections
        return PyinfraMachines(
            self.site,
            connections,
            self.worker or start_worker(),
            sudo_password=self.reveal,
            ask=self.confirm_host_key,
        )

    def reveal(self, reference: SecretRef) -> str:
        """The secret behind ``reference``; asked for at most once a run.

        Raises
        ------
        SecretsError
            The file or the stored secret is missing, or there is no terminal to ask at.
        """
        with self._asking:
            if reference not in self._revealed:
                self._revealed[reference] = reveal(reference, self.site, self.secrets)
            return self._revealed[reference]

    @cached_property
    def cluster(self) -> ClusterReader:
        """Reads the cluster."""
        from provision.adapters.kubernetes import ClusterReader

        return ClusterReader(self.secrets)

    @cached_property
    def etcd(self) -> EtcdReader:
        """Reads etcd's members."""
        return EtcdReader(self.machines)

    def look_over(self) -> LiveCluster:
        """The cluster as it stands, cleared of what proofs of killed runs left behind."""
        from provision.adapters.proving import sweep

        api = self.cluster.connect()
        sweep(api, datetime.now(UTC))
        return api

    @contextmanager
    def ground(self, about: str) -> Iterator[Ground]:
        """A namespace in the cluster to try something out in, gone at the end of the block."""
        from provision.adapters.proving import proving_ground

        with proving_ground(self.cluster.connect(), self.context(), about, self.secrets) as ground:
            yield ground

    def outside(self) -> Outside:
        """What proves services outside the cluster."""
        from provision.adapters.postgresql import DatabaseClient
        from provision.adapters.proving import until
        from provision.proof import Outside

        return Outside(self.site, DatabaseClient(self.secrets), until)

    @cached_property
    def vault(self) -> VaultReader:
        """Reads the site's Vault, and logs in there."""
        from provision.adapters.vault import VaultReader

        return VaultReader(self.secrets)

    @cached_property
    def vault_secrets(self) -> VaultSecrets:
        """Secrets of the site that its Vault keeps."""
        from provision.adapters.vaultsecrets import VaultSecrets

        return VaultSecrets(self.vault)

    def argocd(self, address: Address, host: str) -> ArgocdApi:
        """The site's Argo CD at ``address``, logged in as ``admin``.

        Its certificate may be by the site's own authority, by that of the issuer that made it, or
        by one that this machine trusts.

        Raises
        ------
        SecretsError
            Its password has not been made yet.
        UnreachableError
            It does not answer, or does not take the password.
        """
        from provision.adapters.argocd import ArgocdApi

        own, password = (
            self.secrets.read(name).decode() for name in ("site-ca.crt", ADMIN_PASSWORD)
        )
        secret = self.cluster.connect().get(f"/api/v1/namespaces/{NAMESPACE}/secrets/{TLS}")
        issuers = b64decode(secret.get("data", {}).get("ca.crt", "")).decode()
        return ArgocdApi(address, host, f"{own}\n{issuers}", password)

    def context(self) -> Context:
        """What decisions rest on besides facts."""
        return Context(self.site, self.bundle, self.secrets)

    def observe(
        self,
        context: Context,
        phases: Sequence[Phase],
        hosts: Iterable[str],
        *,
        extra: Query = NOTHING,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Facts:
        """Read machines and cluster at the same time, each machine with one command.

        ``meanwhile`` is called when it is clear what to ask: up to there our own processor
        is what all waits for, and from there on others are.
        """
        queries = {}
        for host in hosts:
            query = extra
            for phase in phases:
                if host in phase.hosts(context):
                    query |= phase.query(context, host)
            queries[host] = query
        objects = [item for phase in phases for item in phase.objects(context)]
        kinds = [kind for phase in phases for kind in phase.whole_kinds(context)]
        asked = {phase.name: asks for phase in phases if (asks := phase.service(context))}
        meanwhile()
        with ThreadPoolExecutor(max_workers=1 + len(asked)) as pool:
            reading = pool.submit(self._read_cluster, objects, kinds)
            asking = {name: pool.submit(self._ask, query) for name, query in asked.items()}
            machines = self.machines.read(queries)
            told = {name: answer.result() for name, answer in asking.items()}
            return Facts(machines, reading.result(), told)

    def _ask(self, query: ServiceQuery) -> Mapping[str, Any]:
        readers = {
            "vault": lambda: self.vault.read(query.arguments),
            "vault secrets": lambda: self.vault_secrets.read(query.arguments),
        }
        return readers[query.kind]()

    def _read_cluster(self, objects: Sequence[Any], kinds: Sequence[KindIn]) -> ClusterFacts:
        return self.cluster.read(objects, kinds)

    def prepare(self, phase: Phase) -> Context:
        """Make the secrets that ``phase`` needs and that are missing or due."""
        self.secrets.ensure(phase.secrets(self.site))
        return self.context()

    def inventory(self, context: Context, hosts: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Ansible's variables by machine."""
        paths = ControllerPaths(self.bundle_path, self.trusted_keys, self.secrets.path)
        return {
            host: machine_variables(
                context, self.phases, host, self.connections.ansible_variables(host), paths
            )
            for host in hosts
        }

    def ansible(self) -> AnsibleRunner:
        """Runs playbooks."""
        return AnsibleRunner(self.state / "work")

    def gates(self) -> GateKeeper:
        """Waits for conditions on machines and in the cluster."""
        from provision.gates import Gates

        services = self.vault.conditions() if self._has("vault") else {}
        return Gates({**self.cluster.conditions(), **self.etcd.conditions(), **services})

    def _has(self, component: str) -> bool:
        return any(phase.name == component for phase in self.phases)

    def leftovers(self, facts: Facts) -> tuple[Leftover, ...]:
        """Components that the site does not have any more, with the data that they hold.

        ``facts`` hold the answers to :func:`provision.leftovers.query`.
        """
        return tuple(map(self._with_data, leftovers.leftovers(self.site, discover(), facts)))

    def _with_data(self, leftover: Leftover) -> Leftover:
        phase = _phase(leftover.name)
        try:
            context = self.still_with(leftover).context()
        except (FindingsError, BundleError) as error:
            # The rest of the site must not wait for what nobody wants any more.
            why = error.found or error.what
            return replace(leftover, data={f"what cannot be told ({why})": leftover.hosts})
        machines = self.machines.read(leftovers.data_queries(context, phase))
        return replace(leftover, data=leftovers.data_found(context, phase, machines))

    def still_with(self, leftover: Leftover) -> Application:
        """The application for the site as it was with that component; it reads no machines."""
        return Application(leftovers.with_leftover(self.site, _phase(leftover.name), leftover))

    def refuse_foreign_cluster(self, facts: Facts) -> None:
        """Refuse to go on where a cluster stands whose secrets this controller lacks.

        Raises
        ------
        SecretsError
            New authorities would be made for machines that trust the old ones.
        """
        if not self.secrets.is_empty:
            return
        taken = [
            name
            for name, machine in facts.machines.items()
            if machine.reachable and (machine.observed["texts"].get(SITE_MARKER) or "").strip()
        ]
        if taken:
            raise SecretsError(
                "these machines belong to a site whose secrets are not on this controller",
                where=", ".join(taken),
                why="new certificate authorities would cut the machines off from each other",
                fix="bring the secrets here: provision secrets import FILE; or where they are lost,"
                " take the cluster off, with all that is on it: provision reset",
            )

    @contextmanager
    def closing(self) -> Iterator[Application]:
        """Close connections at the end."""
        try:
            yield self
        finally:
            if "machines" in vars(self):
                self.machines.close()
            elif self.worker is not None:
                self.worker.discard()
