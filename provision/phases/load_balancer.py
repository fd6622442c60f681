"""load_balancer: addresses for Services of the type LoadBalancer, by MetalLB."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network, summarize_address_range
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from provision import manifests
from provision.clusterphase import ClusterPhase
from provision.errors import BundleError
from provision.explain import DNS_LABEL
from provision.kubeadm.endpoint import api_endpoint
from provision.manifests import KindIn
from provision.objectsecrets import referred
from provision.openings import Opening
from provision.phase import Context, Manifest
from provision.phases.cilium import CiliumSettings
from provision.site import Address, Model, SecretRef, Settings, Site

NAMESPACE = "metallb-system"
FRR_IMAGE = "quay.io/frrouting/frr"
BFD_PORTS = ("3784", "4784")
"""UDP ports of BFD over one hop (RFC 5881) and over several (RFC 5883)."""
MOST_PROBED = 1024
"""Addresses of one layer 2 pool; each is probed before the pool is used."""
OWN_KINDS = (
    ("metallb.io/v1beta1", "BGPAdvertisement"),
    ("metallb.io/v1beta1", "L2Advertisement"),
    ("metallb.io/v1beta1", "IPAddressPool"),
    ("metallb.io/v1beta2", "BGPPeer"),
    ("metallb.io/v1beta1", "BFDProfile"),
    ("v1", "Secret"),
    ("v1", "ConfigMap"),
)
"""Kinds of what comes and goes with the site file. A profile can only go after the peers that name
it."""
LONG_NUMBERS = ("myASN", "peerASN")
"""Fields of a BGPPeer that hold up to 32 bits without a sign."""

Range = tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]


def _as_range(value: object) -> object:
    """``FIRST-LAST``, a network, or one address, as the two ends."""
    if isinstance(value, tuple):
        return value
    if isinstance(value, list):
        # As machines remember it.
        value = "-".join(map(str, value))
    text = value if isinstance(value, str) else ""
    try:
        if "-" in text:
            first, last = (ip_address(part.strip()) for part in text.split("-", 1))
        else:
            network = ip_network(text)
            first, last = network[0], network[-1]
    except ValueError as error:
        raise ValueError(
            "must be addresses, such as 192.0.2.200-192.0.2.220 or 192.0.2.224/28"
        ) from error
    if first.version != last.version or int(first) > int(last):
        raise ValueError("must begin with the lower of two addresses of one family")
    return first, last


Addresses = Annotated[
    tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address],
    BeforeValidator(_as_range, json_schema_input_type=str),
]


class Pool(Model):
    """Addresses that Services may get."""

    addresses: Annotated[tuple[Addresses, ...], Field(min_length=1)]
    """Ranges ``FIRST-LAST``, networks, or single addresses."""
    announce: Literal["layer2", "bgp"] = "layer2"
    """How others learn where an address is: by ARP and NDP in the machines' network, or by BGP."""
    auto_assign: bool = True
    """Whether a Service that names no address or pool may get one of these."""
    namespaces: tuple[str, ...] = ()
    """Namespaces whose Services may use the pool; all without any."""


class BfdSettings(Model):
    """How a router and the machines watch the path between them (RFC 5880)."""

    receive_milliseconds: Annotated[int, Field(ge=10, le=60000)] = 300
    """How often at most a machine wants to hear from the router."""
    transmit_milliseconds: Annotated[int, Field(ge=10, le=60000)] = 300
    """How often at least a machine wants to be heard. Of this and what the router wants to
    receive the longer counts."""
    detect_multiplier: Annotated[int, Field(ge=2, le=255)] = 3
    """Messages of a machine in a row that may stay out before the router counts it as gone."""


class BgpPeer(Model):
    """A router that every machine tells which addresses are where."""

    address: Address
    """Address of the router."""
    asn: Annotated[int, Field(ge=1, le=4294967295)]
    """Its autonomous system's number."""
    port: Annotated[int, Field(ge=1, le=16384)] = 179
    """TCP port that it listens on; MetalLB takes none above 16384."""
    hold_seconds: Annotated[int, Field(ge=3, le=65535)] = 90
    """Seconds without a word after which the two count each other as gone."""
    password: SecretRef | None = None
    """Password of the session (TCP MD5)."""
    bfd: BfdSettings | None = None
    """Watch the path to it by BFD, which the router must do as well; without it not."""


class BgpSettings(Model):
    """How the machines speak BGP."""

    asn: Annotated[int, Field(ge=1, le=4294967295)]
    """The machines' own autonomous system's number."""
    peers: Annotated[tuple[BgpPeer, ...], Field(min_length=1)]
    """Routers."""
    mode: Literal["native", "frr"] | None = None
    """Who speaks BGP: MetalLB itself, or FRR's daemons beside it, which know BFD and IPv6 too.
    Without it FRR only where one of the two is asked for."""


class LoadBalancerSettings(Settings):
    """Settings of the load balancer."""

    component = "load_balancer"
    optional = True

    pools: dict[Annotated[str, Field(pattern=DNS_LABEL)], Pool] = Field(default_factory=dict)
    """Pools of addresses by name."""
    bgp: BgpSettings | None = None
    """Routers to tell about pools with ``announce: bgp``."""

    @property
    def uses_frr(self) -> bool:
        """Whether FRR's daemons speak BGP."""
        if self.bgp is None:
            return False
        return (self.bgp.mode or ("frr" if any(_only_frr(self)) else "native")) == "frr"


class LoadBalancer(ClusterPhase):
    """MetalLB's objects in the cluster, its pools, and its routers."""

    name = "load_balancer"
    after = ("cilium",)
    settings = LoadBalancerSettings
    bundled = ("metallb", "frr")
    namespace = NAMESPACE

    def validate_site(self, site: Site) -> Iterator[str]:
        """Addresses must be nobody else's, and where they can be announced."""
        settings = site.settings(LoadBalancerSettings)
        for name, pool in settings.pools.items():
            yield from _pool_problems(site, name, pool)
        for (one, left), (other, right) in combinations(settings.pools.items(), 2):
            for shared in _shared(left, right):
                yield f"load_balancer.pools.{other}.addresses {shared} is in pool {one} as well"
        if any(pool.announce == "bgp" for pool in settings.pools.values()) and not settings.bgp:
            yield "load_balancer.bgp is missing: a pool is to be announced to routers by BGP"
        yield from _bgp_problems(settings)
        for number, peer in enumerate(settings.bgp.peers if settings.bgp else ()):
            if peer.password is not None and peer.password.prompt:
                yield (
                    f"load_balancer.bgp.peers.{number}.password cannot be asked for: the cluster"
                    " keeps it; give {file: PATH} or {store: NAME}"
                )
        values = site.settings(CiliumSettings).values
        if values.get("enableLBIPAM") or values.get("l2announcements", {}).get("enabled"):
            yield (
                "cilium.values must leave LoadBalancer addresses (enableLBIPAM, l2announcements)"
                " to load_balancer: two that give out addresses would undo each other's work"
            )

    def whole_kinds(self, context: Context) -> Sequence[KindIn]:
        """Pools, advertisements, routers, and what belongs to them; in this order they can go."""
        del context
        return tuple(KindIn(*kind, NAMESPACE) for kind in OWN_KINDS)

    def openings(self, site: Site) -> Sequence[Opening]:
        """The announcing machines' view of each other, and the routers' of the machines."""
        bgp = site.settings(LoadBalancerSettings).bgp
        watched = tuple(peer.address for peer in bgp.peers if peer.bfd) if bgp else ()
        return (
            Opening("7946", "MetalLB's machines among themselves", "machines"),
            Opening("7946", "MetalLB's machines among themselves", "machines", protocol="udp"),
            *(Opening(port, "BFD", watched, protocol="udp") for port in BFD_PORTS if watched),
        )

    def objects(self, context: Context) -> Sequence[Manifest]:
        """The rendered chart, and instances for pools and routers."""
        tag = f"v{self.version(context, 'metallb')}"
        settings = context.site.settings(LoadBalancerSettings)
        frr: dict[str, Any] = {"enabled": settings.uses_frr}
        if settings.uses_frr:
            frr["image"] = {"repository": FRR_IMAGE, "tag": _frr_version(context, settings)}
        values = {
            "fullnameOverride": "metallb",
            "controller": {"image": {"tag": tag}},
            # One that starves is held for lost by the others, and its addresses move: connections
            # are cut.
            "speaker": {
                "image": {"tag": tag},
                "frr": frr,
                "priorityClassName": "system-node-critical",
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
            },
            # Of later versions; a program of its own that would speak BGP for the speaker.
            "frrk8s": {"enabled": False},
        }
        chart = self.chart(context, "metallb-chart", values)
        return [
            manifests.namespace(NAMESPACE, "privileged"),
            *map(_corrected, chart),
            *_pools(settings.pools),
            *(_routers(settings.bgp, context.site) if settings.bgp else ()),
        ]

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """The objects, and what must be free before it is used."""
        pools = context.site.settings(LoadBalancerSettings).pools
        first = context.site.control_plane[0]
        probed = [
            f"{begin}-{end}"
            for pool in pools.values()
            if pool.announce == "layer2"
            for begin, end in pool.addresses
        ]
        return {
            **super().variables(context, host),
            "load_balancer_leftovers": [],
            "load_balancer_probed": probed if host == first else [],
        }


def _pool_problems(site: Site, name: str, pool: Pool) -> Iterator[str]:
    key = f"load_balancer.pools.{name}.addresses"
    taken = {host.address: f"hosts.{machine}" for machine, host in site.hosts.items()}
    taken[api_endpoint(site)[0]] = "the API"
    for first, last in pool.addresses:
        text = _told(first, last)
        for address, owner in taken.items():
            if address.version == first.version and first <= address <= last:  # type: ignore[operator]
                yield f"{key} {text} holds {address}, which is the address of {owner}"
        if pool.announce != "layer2":
            continue
        if not any(first in network and last in network for network in site.network.machines):
            listed = ", ".join(map(str, site.network.machines))
            yield (
                f"{key} {text} is outside network.machines ({listed}): in layer 2 an address must"
                " be of the machines' own network; choose one there, or announce: bgp"
            )
        if int(last) - int(first) >= MOST_PROBED:
            yield f"{key} {text} has more than {MOST_PROBED} addresses, too many to be probed"


def _only_frr(settings: LoadBalancerSettings) -> Iterator[str]:
    """What is asked for that MetalLB's own BGP has not: where, and what it is."""
    for number, peer in enumerate(settings.bgp.peers if settings.bgp else ()):
        if peer.bfd:
            yield f"load_balancer.bgp.peers.{number}.bfd asks for BFD"
    if any(pool.announce == "bgp" for pool in settings.pools.values()):
        # With BGP on, MetalLB judges every pool alike, however it is announced.
        for name, pool in settings.pools.items():
            for first, last in pool.addresses:
                if first.version == 6:
                    told = _told(first, last)
                    yield f"load_balancer.pools.{name}.addresses {told} is IPv6"


def _bgp_problems(settings: LoadBalancerSettings) -> Iterator[str]:
    if settings.bgp is None:
        return
    if settings.bgp.mode == "native":
        for asked in _only_frr(settings):
            yield f"{asked}, which load_balancer.bgp.mode: native does not know; say frr"
    seen: dict[Address, int] = {}
    for number, peer in enumerate(settings.bgp.peers):
        other = seen.setdefault(peer.address, number)
        if other != number:
            yield (
                f"load_balancer.bgp.peers.{number}.address {peer.address} is that of"
                f" peers.{other} as well"
            )


def _frr_version(context: Context, settings: LoadBalancerSettings) -> str:
    """Version of the bundle's FRR.

    Raises
    ------
    BundleError
        The bundle has none.
    """
    version = context.bundle.versions.get("frr")
    if version is None:
        asked = next(_only_frr(settings), "load_balancer.bgp.mode: frr asks for it")
        raise BundleError(
            "the bundle has no frr, whose daemons speak BGP for load_balancer on this site",
            found=asked,
            why="where the bundle comes from, not everything that is optional can be had",
            fix="provision bundle build --source source; or take that out of the site file",
        )
    return version


def _shared(left: Pool, right: Pool) -> Iterator[str]:
    for first, last in left.addresses:
        for begin, end in right.addresses:
            if (
                first.version == begin.version
                and int(begin) <= int(last)
                and int(first) <= int(end)
            ):
                yield f"{begin}-{end}"


def _corrected(manifest: Manifest) -> Manifest:
    """The chart's object as this Kubernetes takes it, and without what MetalLB itself fills in."""
    if manifest["kind"] != "CustomResourceDefinition":
        return manifest
    fixed = copy.deepcopy(dict(manifest))
    fixed["spec"].get("conversion", {}).get("webhook", {}).get("clientConfig", {}).pop(
        "caBundle", None
    )
    if fixed["spec"]["names"]["kind"] == "BGPPeer":
        # 32 bits without a sign do not fit into int32, which newer API servers notice.
        for version in fixed["spec"]["versions"]:
            spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
            for field in LONG_NUMBERS:
                spec[field]["format"] = "int64"
    return fixed


def _instance(
    kind: str, name: str, spec: Mapping[str, Any], version: str = "v1beta1"
) -> dict[str, Any]:
    return {
        "apiVersion": f"metallb.io/{version}",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": dict(spec),
    }


def _pools(pools: Mapping[str, Pool]) -> Iterator[Manifest]:
    for name, pool in pools.items():
        allocation = {"namespaces": list(pool.namespaces)} if pool.namespaces else {}
        yield _instance(
            "IPAddressPool",
            name,
            {
                "addresses": [_written(first, last) for first, last in pool.addresses],
                "autoAssign": pool.auto_assign,
                **({"serviceAllocation": allocation} if allocation else {}),
            },
        )
        kind = "L2Advertisement" if pool.announce == "layer2" else "BGPAdvertisement"
        yield _instance(kind, name, {"ipAddressPools": [name]})


def _told(first: Address, last: Address) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _written(first: IPv4Address | IPv6Address, last: IPv4Address | IPv6Address) -> str:
    """A range as MetalLB takes it: a network where it is one."""
    networks = list(summarize_address_range(first, last))
    return str(networks[0]) if len(networks) == 1 else f"{first}-{last}"


def _routers(bgp: BgpSettings, site: Site) -> Iterator[Manifest]:
    for number, peer in enumerate(bgp.peers, start=1):
        name = f"router-{number}"
        spec: dict[str, Any] = {
            "myASN": bgp.asn,
            "peerASN": peer.asn,
            "peerAddress": str(peer.address),
            "peerPort": peer.port,
            "holdTime": f"{peer.hold_seconds}s",
        }
        if peer.asn != bgp.asn and not any(peer.address in net for net in site.network.machines):
            # FRR asks a router of another system to be next door, unless it is told otherwise.
            spec["ebgpMultiHop"] = True
        if peer.bfd is not None:
            spec["bfdProfile"] = name
            profile = {
                "receiveInterval": peer.bfd.receive_milliseconds,
                "transmitInterval": peer.bfd.transmit_milliseconds,
                "detectMultiplier": peer.bfd.detect_multiplier,
            }
            yield _instance("BFDProfile", name, profile)
        if peer.password is not None:
            secret = f"{name}-password"
            spec["passwordSecret"] = {"name": secret, "namespace": NAMESPACE}
            yield {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": secret, "namespace": NAMESPACE},
                "type": "kubernetes.io/basic-auth",
                "data": {"password": referred(peer.password, site)},
            }
        yield _instance("BGPPeer", name, spec, version="v1beta2")


def address_problems(site: Site, key: str, address: Address) -> Iterator[str]:
    """What keeps the pools from giving ``address``, which the setting ``key`` asks for."""
    if not site.has(LoadBalancerSettings):
        yield (
            f"{key} {address} is to be given by load_balancer, which this site has not:"
            " write load_balancer with a pool that holds it"
        )
        return
    pools = site.settings(LoadBalancerSettings).pools
    held = any(
        first.version == address.version and int(first) <= int(address) <= int(last)
        for pool in pools.values()
        for first, last in pool.addresses
    )
    if not held:
        yield (
            f"{key} {address} is in none of load_balancer.pools"
            f" ({', '.join(pools) or 'there are none'}); add it to one"
        )
