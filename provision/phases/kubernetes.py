"""Kubernetes itself, by kubeadm with stacked etcd: control plane, workers, certificates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from provision import manifests
from provision.clusterphase import API_SECONDS
from provision.dns.offers import Forward
from provision.facts import Facts, Query
from provision.kubeadm import config, paths, topology
from provision.kubeadm.clusterdns import corefile
from provision.kubeadm.endpoint import api_endpoint, joined
from provision.openings import Opening
from provision.phase import (
    AnsiblePhase,
    Blocked,
    Context,
    Decision,
    GateSpec,
    Manifest,
    Run,
    Skip,
    Unknown,
)
from provision.secretspec import Authority, Certificate, KeyPair, Random, SecretSpec, Text
from provision.site import Model, Part, Settings, Site

JOIN_GROUP = "system:bootstrappers:kubeadm:default-node-token"
"""Group that kubeadm's roles let ask for a node's certificate, and for nothing else."""

ENCRYPTION = """\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - secretbox:
          keys:
            - name: site
              secret: {secret:kubernetes/encryption-key}
      - identity: {}
"""

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: SITE
clusters:
  - name: SITE
    cluster:
      server: https://ENDPOINT
      certificate-authority-data: {base64:kubernetes/ca.crt}
users:
  - name: SITE-admin
    user:
      client-certificate-data: {base64:kubernetes/admin.crt}
      client-key-data: {base64:kubernetes/admin.key}
contexts:
  - name: SITE
    context: {cluster: SITE, user: SITE-admin}
"""

PodSecurityLevel = Literal["privileged", "baseline", "restricted"]


class PodSecurity(Model):
    """What pods may do, where their namespace's labels do not say otherwise."""

    enforce: PodSecurityLevel = "baseline"
    """Pods that ask for more are refused."""
    warn: PodSecurityLevel = "restricted"
    """Who makes a pod that asks for more is warned, and it stands in the audit log."""
    exempt_namespaces: tuple[str, ...] = ()
    """Namespaces without any such limit, besides ``kube-system``."""


class KubernetesSettings(Settings):
    """Settings of Kubernetes."""

    component = "kubernetes"

    version: Annotated[str, Field(pattern=r"^1\.[0-9]+\.[0-9]+$")]
    """Version, such as ``1.36.3``; it must be in the bundle."""
    pod_security: PodSecurity = PodSecurity()
    """Pod Security admission for the whole cluster."""
    kubelet: dict[str, Any] = Field(default_factory=dict)
    """Laid over the ``KubeletConfiguration``, as the kubelet's reference names it."""
    kubeadm: dict[str, Any] = Field(default_factory=dict)
    """Laid over kubeadm's ``ClusterConfiguration`` (v1beta4): extra arguments of the API server,
    etcd and so on. Lists of named items are merged by name."""
    ignore_preflight_errors: tuple[str, ...] = ()
    """Preflight checks of kubeadm whose failure this site accepts: ``SystemVerification``, …"""


class KubernetesPhase(AnsiblePhase):
    """Control plane and nodes."""

    name = "kubernetes"
    after = ("containerd", "api_endpoint")
    settings = KubernetesSettings

    def validate_site(self, site: Site) -> Iterator[str]:
        """The networks must be of the families that machines speak."""
        families = {network.version for network in site.network.machines}
        for label in ("pods", "services"):
            for network in getattr(site.network, label):
                if network.version not in families:
                    yield (
                        f"network.{label} {network} is IPv{network.version}, and network.machines"
                        " has no network of that kind"
                    )

    def secrets(self, site: Site) -> Sequence[SecretSpec]:
        """The cluster's authorities, the machines' own certificates, the operator's kubeconfig."""
        endpoint = joined(*api_endpoint(site))
        return (
            Authority("kubernetes/ca", "kubernetes"),
            Authority("kubernetes/etcd-ca", "etcd-ca"),
            Authority("kubernetes/front-proxy-ca", "front-proxy-ca"),
            KeyPair("kubernetes/sa"),
            Random("kubernetes/encryption-key"),
            Text("kubernetes/encryption.yaml", ENCRYPTION),
            *(
                Certificate(
                    f"kubernetes/kubelet/{name}",
                    authority="kubernetes/ca",
                    common_name=f"system:node:{name}",
                    organizations=("system:nodes",),
                    names=(name, str(host.address)),
                )
                for name, host in site.hosts.items()
            ),
            Certificate(
                "kubernetes/admin",
                authority="kubernetes/ca",
                common_name="provision-admin",
                organizations=("kubeadm:cluster-admins",),
                usages=("client",),
            ),
            Text(
                "kubeconfig",
                KUBECONFIG.replace("SITE", site.name).replace("ENDPOINT", endpoint),
            ),
            Certificate(
                "kubernetes/join",
                authority="kubernetes/ca",
                common_name="provision-join",
                organizations=(JOIN_GROUP,),
                usages=("client",),
                days=1,
                renew_days=1,
            ),
        )

    def openings(self, site: Site) -> Sequence[Opening]:
        """The API, etcd among control-plane machines, the kubelet, and ports of Services."""
        return (
            Opening(str(config.API_PORT), "kube-apiserver", "any", on="control_plane"),
            Opening("2379-2380", "etcd", "control_plane", on="control_plane"),
            Opening("10250", "kubelet", "cluster"),
            Opening("30000-32767", "ports of Services", "any"),
            Opening("30000-32767", "ports of Services", "any", protocol="udp"),
        )

    def objects(self, context: Context) -> Sequence[Manifest]:
        """What lets machines join, and renew certificates, without a token; and cluster DNS."""
        return tuple(manifests.parse(self._objects(context)))

    def query(self, context: Context, host: str) -> Query:
        """The role's list, what kubeadm made, and the machine's stamp."""
        control_plane = context.site.hosts[host].is_control_plane
        return super().query(context, host) | Query(
            files=topology.queried_files(control_plane), texts=frozenset((paths.STAMP,))
        )

    def decide(self, context: Context, facts: Facts) -> Decision:
        """Who initialises, who joins, what is repaired; see :mod:`provision.kubeadm.topology`."""
        machines = self._machines(context, facts)
        desired = self._desired(context, facts)
        cluster = _cluster(facts)
        found = list(topology.findings(machines, desired, cluster))
        if found:
            return Blocked(found)
        works = topology.decide(machines, desired, cluster)
        reasons = self.state_reasons(context, facts)
        for name, work in works.items():
            # What kubeadm is about to make need not be listed file by file.
            listed = reasons.get(name, []) if work.step == "keep" else []
            reasons[name] = [*work.reasons, *listed]
        self._add_objects(context, reasons, machines, facts)
        ordered = {host: reasons[host] for host in self.hosts(context) if host in reasons}
        if ordered:
            variables = {
                host: self._work_variables(works.get(host, topology.Work()), host, reasons)
                for host in ordered
            }
            return Run(ordered, variables=variables)
        if not facts.cluster.reachable:
            endpoint = joined(*api_endpoint(context.site))
            # An overloaded one is silent for seconds; one that is down has machines that differ.
            api = GateSpec("API answers at its endpoint", API_SECONDS)
            return Unknown(f"the API at {endpoint} to answer ({facts.cluster.error})", gate=api)
        return Skip("every machine is a member, as the site says")

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """What kubeadm and the kubelet are configured with on ``host``."""
        site = context.site
        settings = site.settings(KubernetesSettings)
        machine = site.hosts[host]
        address, port = api_endpoint(site)
        services = site.network.services
        registration = {
            "name": host,
            "address": str(machine.address),
            "control_plane": machine.is_control_plane,
            "worker": Part.WORKER in machine.parts,
            "ignore_preflight_errors": settings.ignore_preflight_errors,
        }
        return {
            "kubernetes_control_plane": machine.is_control_plane,
            "kubernetes_worker": Part.WORKER in machine.parts,
            "kubernetes_node_address": str(machine.address),
            "kubernetes_endpoint": joined(address, port),
            "kubernetes_peers": [
                str(site.hosts[name].address) for name in site.control_plane if name != host
            ],
            "kubernetes_cluster_configuration": config.cluster_configuration(
                site=site.name,
                version=settings.version,
                endpoint=joined(address, port),
                names=(str(address), "127.0.0.1", "localhost", *_api_names(site)),
                pods=",".join(map(str, site.network.pods)),
                services=",".join(map(str, services)),
                tags=config.image_tags(context.bundle.images),
                over=settings.kubeadm,
            ),
            "kubernetes_init_configuration": config.init_configuration(registration),
            "kubernetes_join_configuration": config.join_configuration(registration),
            "kubernetes_kubelet_configuration": config.kubelet_configuration(
                # The tenth address of the network is where kubeadm puts cluster DNS.
                [str(network.network_address + 10) for network in services],
                settings.kubelet,
            ),
            "kubernetes_pod_security": settings.pod_security.model_dump(mode="json"),
            "kubernetes_corefile": corefile(_forwards(site)),
        }

    def gates(self, context: Context, hosts: Sequence[str]) -> Sequence[GateSpec]:
        """The API answers, etcd is whole, and every machine is a node."""
        members = [name for name in hosts if name in context.site.control_plane]
        return (
            GateSpec("API answers at its endpoint", API_SECONDS),
            GateSpec(
                "etcd members healthy",
                120,
                {"members": members, "allowed": list(context.site.control_plane)},
            ),
            GateSpec("nodes registered", 120, {"nodes": list(hosts)}),
            GateSpec("control plane pods ready", 180, {"nodes": members}),
        )

    def _machines(self, context: Context, facts: Facts) -> list[topology.Machine]:
        return [
            topology.Machine.of(
                name,
                context.site.hosts[name].is_control_plane,
                facts.machines[name].observed,
            )
            for name in self.hosts(context)
            if name in facts.machines and facts.machines[name].reachable
        ]

    def _desired(self, context: Context, facts: Facts) -> topology.Desired:
        inputs: dict[str, Mapping[str, str | None]] = {}
        read = (paths.INIT, paths.AUDIT, paths.ADMISSION, paths.ENCRYPTION)
        for name in context.site.control_plane:
            if name in facts.machines and facts.machines[name].reachable:
                files = self.desired(context, name).files
                inputs[name] = {file.path: file.sha256 for file in files if file.path in read}
        return topology.Desired(
            version=context.site.settings(KubernetesSettings).version,
            control_plane=context.site.control_plane,
            ca=context.secrets.sha256("kubernetes/ca.crt"),
            inputs=inputs,
        )

    def _add_objects(
        self,
        context: Context,
        reasons: dict[str, list[str]],
        machines: Sequence[topology.Machine],
        facts: Facts,
    ) -> None:
        """Name differing objects as reasons of the first member, which will apply them."""
        members = [item.name for item in machines if item.control_plane and item.stamp]
        if not members or not facts.cluster.reachable:
            return
        for manifest in self.objects(context):
            name = manifests.key(manifest)
            state = facts.cluster.objects.get(name)
            if state is not None and not state.exists:
                reasons.setdefault(members[0], []).append(f"object {name} is missing")
            elif state is not None and state.differences:
                fields = ", ".join(state.differences)
                reasons.setdefault(members[0], []).append(f"object {name} differs in {fields}")

    def _work_variables(
        self, work: topology.Work, host: str, reasons: Mapping[str, Sequence[str]]
    ) -> dict[str, Any]:
        return {
            "kubernetes_step": work.step,
            "kubernetes_repair": work.repair,
            "kubernetes_renew": work.renew,
            "kubernetes_register": work.register,
            "kubernetes_apply_objects": any(
                reason.startswith("object ") for reason in reasons.get(host, ())
            ),
        }

    def _objects(self, context: Context) -> str:
        files = self.desired(context, context.site.control_plane[0]).files
        return next(file.content or "" for file in files if file.path == paths.OBJECTS)


def _api_names(site: Site) -> list[str]:
    # Imported late: the list of phases imports this module.
    from provision.plan import phases_of

    return [name for phase in phases_of(site) for name in phase.api_names(site)]


def _forwards(site: Site) -> list[Forward]:
    # Imported late: the list of phases imports this module.
    from provision.plan import phases_of

    return [item for phase in phases_of(site) for item in phase.forwards(site)]


def _cluster(facts: Facts) -> topology.Cluster:
    read = facts.cluster
    return topology.Cluster(
        reachable=read.reachable,
        error=read.error,
        kubelets={name: node.kubelet_version for name, node in read.nodes.items()},
    )
