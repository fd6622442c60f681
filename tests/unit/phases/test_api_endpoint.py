from __future__ import annotations

from typing import Any

import pytest

from provision.phases.api_endpoint import ApiEndpointPhase, ApiEndpointSettings
from tests.support.cases import make_context, make_site

PHASE = ApiEndpointPhase()
ALONE = {"n2": {"parts": ["worker"]}, "n3": {"parts": ["worker"]}}


def problems(endpoint: dict[str, Any], **site: Any) -> list[str]:
    return list(PHASE.validate_site(make_site({"api_endpoint": endpoint, **site})))


@pytest.mark.parametrize(
    ("endpoint", "problem"),
    [
        ({"address": "198.51.100.1"}, "is outside network.machines (192.0.2.0/24)"),
        ({"address": "192.0.2.255"}, "is not a machine's address in 192.0.2.0/24"),
        ({"address": "192.0.2.0"}, "is not a machine's address in 192.0.2.0/24"),
        ({"address": "192.0.2.2"}, "is the address of hosts.n2"),
        ({"address": None}, "3 control-plane machines need a virtual address"),
        ({"port": 6443}, "api_endpoint.port 6443 is taken on the same machines by kubernetes"),
        ({"port": 2380}, "api_endpoint.port 2380 is taken on the same machines by kubernetes"),
    ],
)
def test_an_address_that_cannot_be_held_is_refused(endpoint: dict[str, Any], problem: str) -> None:
    (found,) = problems(endpoint)
    assert problem in found


def test_a_free_address_is_fine() -> None:
    assert problems({}) == []


def test_a_single_control_plane_machine_needs_no_address() -> None:
    assert problems({"address": None}, hosts=ALONE) == []
    site = make_site({"api_endpoint": {"address": None}, "hosts": ALONE})
    assert site.settings(ApiEndpointSettings).endpoint(site) == "192.0.2.1:6443"
    assert PHASE.hosts(make_context(site)) == ()
    assert [(item.ports, item.source) for item in PHASE.openings(site)] == [("6443", "any")]


def test_the_endpoint_is_the_virtual_address() -> None:
    site = make_site({})
    assert site.settings(ApiEndpointSettings).endpoint(site) == "192.0.2.100:7443"


def test_each_machine_has_its_own_priority_and_the_others_as_peers() -> None:
    context = make_context(make_site({}))
    found = {host: PHASE.variables(context, host) for host in PHASE.hosts(context)}
    assert list(found) == ["n1", "n2", "n3"]
    assert len({item["api_endpoint_priority"] for item in found.values()}) == 3
    assert found["n2"]["api_endpoint_peers"] == ["192.0.2.1", "192.0.2.3"]
    assert {item["api_endpoint_virtual_router_id"] for item in found.values()} == {100}


def test_brackets_stand_around_an_ipv6_address() -> None:
    hosts = {
        name: {"address": f"2001:db8::{number}"}
        for number, name in enumerate(("n1", "n2", "n3", "n4"), start=1)
    }
    site = make_site(
        {
            "network": {
                "machines": "2001:db8::/64",
                "pods": "fd00:1::/56",
                "services": "fd00:2::/108",
            },
            "hosts": hosts,
            "api_endpoint": {"address": "2001:db8::100"},
        }
    )
    context = make_context(site)
    assert site.settings(ApiEndpointSettings).endpoint(site) == "[2001:db8::100]:7443"
    files = {file.path: file.content for file in PHASE.desired(context, "n1").files}
    assert "bind [2001:db8::100]:7443" in (files["/etc/haproxy/haproxy.cfg"] or "")
    assert "2001:db8::100/128 dev" in (files["/etc/keepalived/keepalived.conf"] or "")
