"""The row about the address of Phalanx's ingress, from how the cluster stands."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest

from provision.phalanx.ingress import ingress_row
from provision.phalanx.preflight import Row
from provision.proof import Ground, NotProvenError, Object

ADDRESS = "192.0.2.7"


class Cluster:
    """Services and pools."""

    def __init__(self, services: Sequence[Object] = (), pools: Sequence[Object] = ()) -> None:
        self._objects = {"Service": services, "IPAddressPool": pools}

    def all(self, api_version: str, kind: str) -> Sequence[Object]:
        return self._objects[kind]


def holding(namespace: str) -> Object:
    given = {"loadBalancer": {"ingress": [{"ip": ADDRESS}]}}
    return {"metadata": {"namespace": namespace, "name": "web"}, "status": given}


def pool(addresses: str, *namespaces: str) -> Object:
    allocation = {"serviceAllocation": {"namespaces": list(namespaces)}} if namespaces else {}
    return {"metadata": {"name": "a"}, "spec": {"addresses": [addresses], **allocation}}


class Refusal(AbstractContextManager[Ground]):
    """A ground on which nothing works."""

    def __enter__(self) -> Ground:
        raise NotProvenError("tried", found="in vain")

    def __exit__(self, *_: object) -> None:
        pass


def row(cluster: Cluster) -> Row:
    return ingress_row(cluster, ADDRESS, lambda _: Refusal())


@pytest.mark.parametrize(("namespace", "good"), [("ingress-nginx", True), ("other", False)])
def test_an_address_that_a_service_has(namespace: str, good: bool) -> None:
    found = row(Cluster([holding(namespace)]))
    assert (found.found, found.good) == (f"{namespace}/web has {ADDRESS}", good)


@pytest.mark.parametrize(
    ("addresses", "namespaces", "good"),
    [
        ("192.0.2.0/28", ("ingress-nginx", "web"), True),
        ("192.0.2.5-192.0.2.9", ("web",), False),
    ],
)
def test_an_address_of_a_pool_that_is_not_open_to_all(
    addresses: str, namespaces: tuple[str, ...], good: bool
) -> None:
    found = row(Cluster(pools=[pool(addresses, *namespaces)]))
    assert found.found.startswith(f"{ADDRESS} is kept for {', '.join(namespaces)}")
    assert found.good is good


@pytest.mark.parametrize(
    "pools",
    [
        [],
        [pool("192.0.2.0/24")],
        [pool("192.0.2.8-192.0.2.9", "web")],
        [pool("2001:db8::/64", "a")],
    ],
)
def test_every_other_address_is_tried(pools: list[Any]) -> None:
    found = row(Cluster(pools=pools))
    assert (found.found, found.good) == ("tried: in vain", False)
