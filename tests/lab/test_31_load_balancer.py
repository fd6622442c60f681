"""Addresses of Services: who may have one, who announces it, and that it outlives a machine."""

from __future__ import annotations

import json
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import routing
from tests.lab.services import NAMESPACE, ask, web
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.lab.machines import Lab, Machine
    from tests.lab.routing import Router

    Routed = Callable[..., tuple[Lab, Router]]

pytestmark = pytest.mark.services

LAYER2 = "10.199.50.210"
LOCAL = "10.199.50.211"
RESERVED = "10.199.50.231"
ROUTED = "198.51.100.5"
HOLD_SECONDS = 9
BFD = {"receive_milliseconds": 1000, "transmit_milliseconds": 1000}
"""Three machines on two cores are silent for a second at times, and FRR waits long to come back."""
ROUTING_KINDS = "ipaddresspools,bgpadvertisements,bgppeers,bfdprofiles"


@pytest.fixture
def namespace(lab: Lab) -> Iterator[str]:
    """A namespace for what a user brings."""
    lab.kubectl("create", "namespace", NAMESPACE)
    yield NAMESPACE
    lab.kubectl("delete", "namespace", NAMESPACE, "--timeout=120s")


@pytest.fixture
def everywhere(lab: Lab, namespace: str) -> Callable[[str], None]:
    """Starts a web server on every machine, behind a Service with the given address."""
    return lambda address: apply(lab, web(address, "here", kind="DaemonSet"))


@pytest.fixture(scope="module")
def router(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    with routing.running_router(lab, tmp_path_factory.mktemp("router")) as running:
        yield running


@pytest.fixture
def routed(lab: Lab, router: Router, tmp_path: Path) -> Iterator[Routed]:
    """Gives the site a pool that the router is told about; afterwards it is as it was."""

    def start(**peer: Any) -> tuple[Lab, Router]:
        router.serve(lab, bfd="bfd" in peer)
        changed = lab.changed(tmp_path, lambda site: routing.with_routing(tmp_path, site, **peer))
        changed.provision("up", "--no-verify")
        return changed, router

    yield start
    lab.provision("up", "--no-verify")
    left = lab.kubectl("-n", "metallb-system", "get", ROUTING_KINDS, "-o", "name").split()
    assert left == ["ipaddresspool.metallb.io/public"]


def apply(lab: Lab, manifest: str) -> None:
    lab.kubectl("apply", "-f", "-", stdin=manifest)


def hardware(lab: Lab) -> dict[str, str]:
    """Each machine's hardware address, by its name."""
    return {
        name: machine.run("cat /sys/class/net/eth0/address").strip()
        for name, machine in lab.machines.items()
    }


def announcing(known: dict[str, str], address: str) -> str:
    """The machine among those of ``known`` that answers for ``address``, as we see it here."""
    shown = subprocess.run(
        ["ip", "neighbour", "show", address], capture_output=True, text=True, check=True
    ).stdout
    return next((name for name, mac in known.items() if mac in shown), f"nobody: {shown!r}")


def own_address(towards: str) -> str:
    """The address that we ask from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect((towards, 80))
        return str(asking.getsockname()[0])


def switched_on(lab: Lab, machine: Machine) -> None:
    machine.start()
    wait_until("status says healthy", lambda: lab.provision("status"), seconds=300)


def test_only_the_pods_machine_announces_and_the_pod_sees_who_asks(
    lab: Lab, namespace: str
) -> None:
    apply(lab, web(LOCAL, "here"))
    wait_until("an answer from outside", lambda: ask(LOCAL) == "here", seconds=120)
    pods = json.loads(lab.kubectl("-n", namespace, "get", "pods", "-o", "json"))["items"]
    assert [pod["spec"]["nodeName"] for pod in pods] == [announcing(hardware(lab), LOCAL)]
    assert ask(LOCAL, "/cgi-bin/client") == own_address(LOCAL)


def test_a_pool_is_for_its_namespaces_alone(lab: Lab, namespace: str, tmp_path: Path) -> None:
    def reserve(site: dict[str, Any]) -> None:
        pool = {"addresses": [RESERVED], "namespaces": ["metallb-system"]}
        site["load_balancer"]["pools"]["reserved"] = pool

    def told() -> str:
        return lab.kubectl("-n", namespace, "get", "events", "-o", "jsonpath={.items[*].message}")

    lab.changed(tmp_path, reserve).provision("up", "--no-verify")
    try:
        apply(lab, web(RESERVED, "not for us"))
        wait_until("a refusal", lambda: "pool reserved not compatible" in told(), seconds=60)
        path = "jsonpath={.status.loadBalancer.ingress[*].ip}"
        assert lab.kubectl("-n", namespace, "get", "service", "deployment", "-o", path) == ""
    finally:
        lab.provision("up", "--no-verify")
    assert "reserved" not in lab.kubectl("-n", "metallb-system", "get", "ipaddresspools")


def test_another_machine_announces_in_layer_2(
    lab: Lab, everywhere: Callable[[str], None], report: Callable[[str], None]
) -> None:
    everywhere(LAYER2)
    wait_until("an answer from outside", lambda: ask(LAYER2) == "here", seconds=120)
    known = hardware(lab)
    victim = lab.machines[announcing(known, LAYER2)]
    victim.kill()
    try:
        took = wait_until("another's answer", lambda: ask(LAYER2) == "here", seconds=60)
        report(f"layer 2: a Service answers {took:.1f} s after {victim.name} was killed")
        assert announcing(known, LAYER2) in set(known) - {victim.name}
    finally:
        switched_on(lab, victim)


def outlives_a_machine(lab: Lab, router: Router) -> float:
    """Kill the last machine; seconds until the router knew. It is there again afterwards."""
    machines = list(lab.machines.values())
    everyone = {machine.address for machine in machines}
    wait_until("a way by each machine", lambda: router.ways(ROUTED) == everyone, seconds=180)
    fetch = f"wget -qO- http://{ROUTED}/"
    assert router.machine.run(fetch) == "here\n"

    victim = machines[-1]
    try:
        with router.missing(ROUTED, victim) as took:
            victim.kill()
        others = everyone - {victim.address}
        wait_until("the other ways", lambda: router.ways(ROUTED) == others, seconds=60)
        assert router.machine.run(fetch) == "here\n"
    finally:
        switched_on(lab, victim)
    wait_until("a way by each machine", lambda: router.ways(ROUTED) == everyone, seconds=180)
    return took[0]


def test_a_router_is_told_by_bgp(
    routed: Routed, everywhere: Callable[[str], None], report: Callable[[str], None]
) -> None:
    lab, router = routed(hold_seconds=HOLD_SECONDS)
    everywhere(ROUTED)
    took = outlives_a_machine(lab, router)
    report(f"BGP: a killed machine's way is withdrawn after {took:.1f} s of {HOLD_SECONDS} s")
    assert took < HOLD_SECONDS + 1


def test_bfd_notices_long_before_bgp_would(
    routed: Routed, everywhere: Callable[[str], None], report: Callable[[str], None]
) -> None:
    lab, router = routed(bfd=BFD)
    everywhere(ROUTED)
    everyone = {machine.address for machine in lab.machines.values()}
    wait_until("paths watched by BFD", lambda: router.watched() == everyone, seconds=120)
    took = outlives_a_machine(lab, router)
    report(f"BFD: a killed machine's way is withdrawn after {took:.1f} s; BGP alone waits 90 s")
    assert took < 5
