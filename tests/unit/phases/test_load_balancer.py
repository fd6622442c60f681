"""What the load_balancer phase refuses, and which objects it makes of pools and routers."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar

import pytest

from provision.errors import BundleError
from provision.phase import Context
from provision.phases.load_balancer import LoadBalancer, LoadBalancerSettings, _corrected
from provision.site import Site
from tests.support.cases import EveryBundle, EverySecret, make_context, make_site

POOL = {"addresses": ["192.0.2.200-192.0.2.210"]}
BGP = {"asn": 64513, "peers": [{"address": "192.0.2.254", "asn": 4200000000}]}


def site(changes: Mapping[str, Any]) -> Site:
    return make_site({"load_balancer": changes})


def problems(pools: Mapping[str, Any], **more: Any) -> list[str]:
    return list(LoadBalancer().validate_site(site({"pools": pools, **more})))


@pytest.mark.parametrize(
    ("addresses", "says"),
    [
        ("198.51.100.1", "is outside network.machines (192.0.2.0/24)"),
        ("192.0.2.250-192.0.3.4", "is outside network.machines"),
        ("192.0.2.90-192.0.2.110", "holds 192.0.2.100, which is the address of the API"),
        ("192.0.2.3", "192.0.2.3 holds 192.0.2.3, which is the address of hosts.n3"),
    ],
)
def test_addresses_that_cannot_be(addresses: str, says: str) -> None:
    (problem,) = problems({"public": {"addresses": [addresses]}})
    assert problem.startswith("load_balancer.pools.public.addresses ")
    assert says in problem


def test_pools_must_not_share() -> None:
    (problem,) = problems({"one": POOL, "two": {"addresses": ["192.0.2.208/29"]}})
    assert problem == (
        "load_balancer.pools.two.addresses 192.0.2.208-192.0.2.215 is in pool one as well"
    )


def test_bgp_needs_routers_and_no_network_of_its_own() -> None:
    pools = {"routed": {"addresses": ["198.51.100.0/26"], "announce": "bgp"}}
    assert problems(pools) == [
        "load_balancer.bgp is missing: a pool is to be announced to routers by BGP"
    ]
    assert problems(pools, bgp=BGP) == []


def test_a_routers_password_is_not_asked_for() -> None:
    peer = {**BGP["peers"][0], "password": {"prompt": True}}  # type: ignore[index]
    (problem,) = problems({}, bgp={**BGP, "peers": [peer]})
    assert problem.startswith("load_balancer.bgp.peers.0.password cannot be asked for")


def test_cilium_leaves_it_alone() -> None:
    wanted = {"cilium": {"values": {"l2announcements": {"enabled": True}}}, "load_balancer": {}}
    (problem,) = LoadBalancer().validate_site(make_site(wanted))
    assert "must leave LoadBalancer addresses" in problem


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("192.0.2.9-192.0.2.1", "the lower of two addresses"),
        ("192.0.2.1-2001:db8::1", "the lower of two addresses of one family"),
        ("printer", "must be addresses, such as"),
    ],
)
def test_ranges_that_are_none(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LoadBalancerSettings.model_validate({"pools": {"public": {"addresses": [text]}}})


def test_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_CACHE", str(tmp_path))
    peer = {**BGP["peers"][0], "password": {"store": "bgp"}}  # type: ignore[index]
    given = {
        "pools": {
            "public": {"addresses": ["192.0.2.200-192.0.2.207"]},
            "routed": {"addresses": ["198.51.100.7"], "announce": "bgp", "namespaces": ["web"]},
        },
        "bgp": {**BGP, "peers": [peer]},
    }
    context = make_context(site(given), tmp_path)
    found = made(given, tmp_path)
    assert found["IPAddressPool", "public"]["spec"] == {
        "addresses": ["192.0.2.200/29"],
        "autoAssign": True,
    }
    assert found["IPAddressPool", "routed"]["spec"]["serviceAllocation"] == {"namespaces": ["web"]}
    assert found["L2Advertisement", "public"]["spec"] == {"ipAddressPools": ["public"]}
    assert found["BGPAdvertisement", "routed"]["spec"] == {"ipAddressPools": ["routed"]}
    assert found["BGPPeer", "router-1"]["spec"]["peerASN"] == 4200000000
    assert found["Secret", "router-1-password"]["data"] == {"password": {"store": "bgp"}}
    probed = LoadBalancer().variables(context, "n1")["load_balancer_probed"]
    assert probed == ["192.0.2.200-192.0.2.207"]
    assert LoadBalancer().variables(context, "n2")["load_balancer_probed"] == []


def peers(*changes: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """BGP with routers that differ from the usual one in this, and have addresses of their own."""
    routers = [
        {**BGP["peers"][0], "address": f"192.0.2.{254 - number}", **change}  # type: ignore[index]
        for number, change in enumerate(changes)
    ]
    return {**BGP, **more, "peers": routers}


def made(given: Mapping[str, Any], folder: Path) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The objects by kind and name."""
    context = make_context(site(given), folder)
    return {
        (item["kind"], item["metadata"]["name"]): item for item in LoadBalancer().objects(context)
    }


def test_a_path_that_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_CACHE", str(tmp_path))
    found = made({"bgp": peers({"bfd": {"detect_multiplier": 5}}, {})}, tmp_path)
    assert found["BFDProfile", "router-1"]["spec"] == {
        "receiveInterval": 300,
        "transmitInterval": 300,
        "detectMultiplier": 5,
    }
    assert found["BGPPeer", "router-1"]["spec"]["bfdProfile"] == "router-1"
    assert "bfdProfile" not in found["BGPPeer", "router-2"]["spec"]
    assert ("BFDProfile", "router-2") not in found


@pytest.mark.parametrize(
    ("given", "frr"),
    [
        ({}, False),
        ({"bgp": BGP}, False),
        ({"bgp": {**BGP, "mode": "frr"}}, True),
        ({"bgp": peers({"bfd": {}})}, True),
        ({"bgp": BGP, "pools": {"six": {"addresses": ["2001:db8::/120"]}}}, False),
        (
            {
                "bgp": BGP,
                "pools": {"six": {"addresses": ["2001:db8::/120"], "announce": "bgp"}},
            },
            True,
        ),
    ],
)
def test_who_speaks_bgp(given: Mapping[str, Any], *, frr: bool) -> None:
    assert site(given).settings(LoadBalancerSettings).uses_frr == frr


def test_what_metallbs_own_bgp_does_not_know() -> None:
    pools = {
        "six": {"addresses": ["2001:db8::1"], "announce": "bgp"},
        "four": {"addresses": ["198.51.100.1"], "announce": "bgp"},
    }
    said = problems(pools, bgp=peers({"bfd": {}}, mode="native"))
    tail = ", which load_balancer.bgp.mode: native does not know; say frr"
    assert said == [
        f"load_balancer.bgp.peers.0.bfd asks for BFD{tail}",
        f"load_balancer.pools.six.addresses 2001:db8::1 is IPv6{tail}",
    ]


def test_a_router_is_named_once() -> None:
    address = {"address": "192.0.2.254"}
    assert problems({}, bgp=peers(address, address)) == [
        "load_balancer.bgp.peers.1.address 192.0.2.254 is that of peers.0 as well"
    ]


@pytest.mark.parametrize(
    ("bfd", "says"),
    [
        ({"receive_milliseconds": 5}, "greater than or equal to 10"),
        ({"transmit_milliseconds": 60001}, "less than or equal to 60000"),
        ({"detect_multiplier": 1}, "greater than or equal to 2"),
        ({"interval": 100}, "Extra inputs are not permitted"),
    ],
)
def test_bfd_that_cannot_be(bfd: Mapping[str, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LoadBalancerSettings.model_validate({"bgp": peers({"bfd": bfd})})


def test_a_router_that_is_not_next_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_CACHE", str(tmp_path))
    far, near = {"address": "198.51.100.1"}, {"address": "192.0.2.254"}
    ours = {"address": "198.51.100.2", "asn": BGP["asn"]}
    found = made({"bgp": peers(far, near, ours)}, tmp_path)
    hops = [
        found["BGPPeer", f"router-{number}"]["spec"].get("ebgpMultiHop", False)
        for number in (1, 2, 3)
    ]
    assert hops == [True, False, False]


def test_only_watched_routers_come_in(tmp_path: Path) -> None:
    opened = LoadBalancer().openings(site({"bgp": peers({"bfd": {}}, {})}))
    assert [(item.ports, item.protocol, item.source) for item in opened[2:]] == [
        ("3784", "udp", (ip_address("192.0.2.254"),)),
        ("4784", "udp", (ip_address("192.0.2.254"),)),
    ]
    assert len(LoadBalancer().openings(site({"bgp": BGP}))) == 2


class WithoutFrr(EveryBundle):
    versions: ClassVar[Mapping[str, str]] = {
        name: version for name, version in EveryBundle.versions.items() if name != "frr"
    }


def test_a_bundle_without_frr() -> None:
    watched = site({"bgp": peers({}, {"bfd": {}})})
    context = Context(watched, WithoutFrr(), EverySecret())
    with pytest.raises(BundleError, match="has no frr") as refused:
        LoadBalancer().objects(context)
    assert refused.value.found == "load_balancer.bgp.peers.1.bfd asks for BFD"


def test_the_definition_of_a_router_takes_long_numbers() -> None:
    numbers = {"myASN": {"format": "int32"}, "peerASN": {"format": "int32"}}
    spec = {"properties": {"spec": {"properties": numbers}}}
    definition = {
        "kind": "CustomResourceDefinition",
        "spec": {
            "names": {"kind": "BGPPeer"},
            "conversion": {"webhook": {"clientConfig": {"caBundle": "x", "service": {}}}},
            "versions": [{"schema": {"openAPIV3Schema": spec}}],
        },
    }
    fixed = _corrected(definition)["spec"]
    assert fixed["conversion"]["webhook"]["clientConfig"] == {"service": {}}
    properties = fixed["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert properties["properties"]["myASN"] == {"format": "int64"}
    assert numbers["myASN"] == {"format": "int32"}, "what is rendered is kept for the next time"
