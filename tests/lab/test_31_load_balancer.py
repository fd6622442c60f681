"""A Service outlives the machine that announces it, in layer 2 and by BGP."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.machines import vagrant_up
from tests.lab.services import NAMESPACE, ask, web
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.lab.machines import Lab, Machine

pytestmark = pytest.mark.services

ROUTER = "router"
ROUTER_ADDRESS = "10.199.50.250"
LAYER2 = "10.199.50.210"
ROUTED = "198.51.100.5"
HOLD_SECONDS = 9
PASSWORD = "bgp-in-the-lab"

BIRD = """\
router id {own};
protocol device {{}}
protocol kernel {{ merge paths on; ipv4 {{ export all; }}; }}
"""
SESSION = """\
protocol bgp {name} {{
  local {own} as 64512;
  neighbor {address} as 64513;
  passive on;
  hold time {hold};
  password "{password}";
  ipv4 {{ import all; export none; }};
}}
"""


@pytest.fixture
def everywhere(lab: Lab) -> Iterator[Callable[[str], None]]:
    """Starts a web server on every machine, behind a Service with the given address."""
    lab.kubectl("create", "namespace", NAMESPACE)
    yield lambda address: apply(lab, web(address, "here", kind="DaemonSet"))
    lab.kubectl("delete", "namespace", NAMESPACE, "--timeout=120s")


@pytest.fixture
def routed(lab: Lab, tmp_path: Path) -> Iterator[tuple[Lab, Machine]]:
    """The site with a pool that a router is told about, and that router."""
    host = {"address": ROUTER_ADDRESS, "parts": ["worker"]}
    with_router = lab.changed(tmp_path, lambda site: site["hosts"].update({ROUTER: host}))
    vagrant_up(with_router, ROUTER)
    router = with_router.machines[ROUTER]
    try:
        start_router(router, lab)
        (tmp_path / "bgp").write_text(PASSWORD)
        (tmp_path / "bgp").chmod(0o600)
        changed = lab.changed(tmp_path, add_routing)
        changed.provision("up", "--no-verify")
        yield changed, router
    finally:
        with_router.podman("rm", "--force", "--volumes", router.container)
        lab.kubectl(
            *("-n", "metallb-system", "delete", "--ignore-not-found"),
            *("ipaddresspool/routed", "bgpadvertisement/routed", "bgppeer/router-1"),
            "secret/router-1-password",
        )


def apply(lab: Lab, manifest: str) -> None:
    lab.kubectl("apply", "-f", "-", stdin=manifest)


def add_routing(site: dict[str, Any]) -> None:
    site["load_balancer"]["pools"]["routed"] = {
        "addresses": ["198.51.100.0/28"],
        "announce": "bgp",
        "auto_assign": False,
    }
    peer = {"address": ROUTER_ADDRESS, "asn": 64512, "hold_seconds": HOLD_SECONDS}
    site["load_balancer"]["bgp"] = {
        "asn": 64513,
        "peers": [{**peer, "password": {"file": "bgp"}}],
    }


def start_router(router: Machine, lab: Lab) -> None:
    sessions = [
        SESSION.format(
            own=ROUTER_ADDRESS,
            name=machine.name,
            address=machine.address,
            hold=HOLD_SECONDS,
            password=PASSWORD,
        )
        for machine in lab.machines.values()
    ]
    router.run("apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install bird2")
    text = BIRD.format(own=ROUTER_ADDRESS) + "".join(sessions)
    router.run("cat > /etc/bird/bird.conf && systemctl restart bird", stdin=text)


def ways(router: Machine) -> set[str]:
    """The machines by which the router's kernel reaches the address."""
    shown = router.run(f"ip route show {ROUTED}")
    return {word for word in shown.split() if word.startswith("10.199.50.")}


def announcing(lab: Lab, address: str) -> Machine:
    """The machine whose hardware address answers for ``address``."""
    shown = subprocess.run(
        ["ip", "neighbour", "show", address], capture_output=True, text=True, check=True
    ).stdout
    return next(
        machine
        for machine in lab.machines.values()
        if machine.run("cat /sys/class/net/eth0/address").strip() in shown
    )


def switched_on(lab: Lab, machine: Machine) -> None:
    machine.start()
    wait_until("status says healthy", lambda: lab.provision("status"), seconds=300)


def test_another_machine_announces_in_layer_2(
    lab: Lab, everywhere: Callable[[str], None], report: Callable[[str], None]
) -> None:
    everywhere(LAYER2)
    wait_until("an answer from outside", lambda: ask(LAYER2) == "here", seconds=120)
    victim = announcing(lab, LAYER2)
    victim.kill()
    try:
        took = wait_until("another's answer", lambda: ask(LAYER2) == "here", seconds=60)
        report(f"layer 2: a Service answers {took:.1f} s after {victim.name} was killed")
        assert announcing(lab, LAYER2) != victim
    finally:
        switched_on(lab, victim)


def test_a_router_is_told_by_bgp(
    routed: tuple[Lab, Machine], everywhere: Callable[[str], None], report: Callable[[str], None]
) -> None:
    lab, router = routed
    everywhere(ROUTED)
    all_of_them = {machine.address for machine in lab.machines.values()}
    wait_until("a way by each machine", lambda: ways(router) == all_of_them, seconds=120)
    assert router.run(f"wget -qO- http://{ROUTED}/") == "here\n"

    victim = list(lab.machines.values())[-1]
    victim.kill()
    try:
        left = all_of_them - {victim.address}
        took = wait_until("the way is withdrawn", lambda: ways(router) == left, seconds=60)
        report(f"BGP: the way by {victim.name} is withdrawn {took:.1f} s after it was killed")
        assert router.run(f"wget -qO- http://{ROUTED}/") == "here\n"
    finally:
        switched_on(lab, victim)
