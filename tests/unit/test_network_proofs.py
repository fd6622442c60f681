"""What ``verify`` says of addresses, of ways out and of names."""

from __future__ import annotations

from typing import Any

import pytest

from provision.proof import NotProvenError
from provision.proofs.addresses import AddressProof
from provision.proofs.names import NamesProof
from provision.proofs.network import EgressProof
from tests.support.cases import make_context, make_site
from tests.support.ground import FakeGround, pool

POOLS = {"IPAddressPool": [pool("public", "192.0.2.200-192.0.2.210")]}
GIT = "git.example.org:443"


def ground(changes: dict[str, Any], **more: Any) -> FakeGround:
    return FakeGround(make_context(make_site(changes)), **more)


def test_an_address_moves_to_another_machine() -> None:
    moving = ground({}, others=POOLS)
    said = AddressProof().prove(moving, "public")
    assert said.startswith("192.0.2.210 answers from outside the cluster; moves to another machine")
    [(_, spec)] = [(key, item["spec"]) for key, item in moving.objects.items() if "Service" in key]
    assert spec["externalTrafficPolicy"] == "Local"
    assert len([key for key in moving.objects if key[0] == "Pod"]) == 1


def test_an_address_that_stays_with_its_machine_is_not_proven() -> None:
    stuck = ground({}, others=POOLS, stuck=True)
    with pytest.raises(NotProvenError, match=r"192\.0\.2\.210 to answer") as caught:
        AddressProof().prove(stuck, "public")
    assert caught.value.found == "http://192.0.2.210/ does not answer"


def test_ways_out_are_those_of_the_site_file() -> None:
    egress = {"network": {"egress": [GIT, "192.0.2.9:5000"]}}
    scripts: list[str] = []

    def connected(script: str) -> str:
        scripts.append(script)
        return "203.0.113.7\n" if "nslookup" in script else ""

    standing = ground(egress, commands=connected)
    site = standing.site_context.site
    assert EgressProof().cases(standing, site) == (GIT, "192.0.2.9:5000")
    assert [EgressProof().prove(standing, case) for case in site.network.egress] == [
        "a pod is connected"
    ] * 2
    assert [script for script in scripts if script.startswith("nc")] == [
        "nc -w 5 203.0.113.7 443 -e true",
        "nc -w 5 192.0.2.9 5000 -e true",
    ]


def test_a_way_out_that_is_closed_or_has_no_name_is_told() -> None:
    def refused(script: str) -> str:
        if "nslookup" in script:
            return "203.0.113.7\n"
        raise NotProvenError("a command in the pod failed", found="nc: Connection refused")

    with pytest.raises(NotProvenError, match=f"{GIT} to take a connection") as caught:
        EgressProof().prove(ground({}, commands=refused), GIT)
    assert caught.value.found == "nc: Connection refused"
    with pytest.raises(NotProvenError) as caught:
        EgressProof().prove(ground({}, commands=lambda _: ""), GIT)
    assert caught.value.found == "pods know no git.example.org"


def test_names_are_asked_inside_and_outside() -> None:
    names = {"api.example.test.": ["192.0.2.100"]}
    inside = {"commands": lambda _: "192.0.2.100\n"}
    site = {"dns": {"zone": "example.test"}}
    assert NamesProof().prove(ground(site, zone=names, **inside), "") == "api in example.test"
    with pytest.raises(NotProvenError) as caught:
        NamesProof().prove(ground(site, **inside), "")
    assert caught.value.found == "api.example.test is unknown at 192.0.2.1:53"
    with pytest.raises(NotProvenError) as caught:
        NamesProof().prove(ground(site, zone=names, commands=lambda _: ""), "")
    assert caught.value.found == "api.example.test is unknown in a pod"
