"""A router beside the lab: a machine of its own that runs bird and is told by BGP, with BFD."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.lab.machines import vagrant_up

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.machines import Lab, Machine

NAME = "router"
ADDRESS = "10.199.50.250"
POOL = "198.51.100.0/28"
OUR_SYSTEM, ITS_SYSTEM = 64513, 64512
PASSWORD = "bgp-in-the-lab"

BIRD = """\
router id {own};
protocol device {{}}
protocol kernel {{ merge paths on; ipv4 {{ export all; }}; }}
protocol bfd {{ interface "*" {{ interval 1 s; multiplier 3; }}; }}
"""
SESSION = """\
protocol bgp {name} {{
  local {own} as {its_system};
  neighbor {address} as {our_system};
  passive on;
  bfd {bfd};
  hold time 240;
  error wait time 1, 3;
  password "{password}";
  ipv4 {{ import all; export none; }};
}}
"""
"""The shorter of both sides' hold times counts, which is the site's."""


@dataclass
class Router:
    """The router, and what its kernel knows of the way to an address."""

    machine: Machine

    def serve(self, lab: Lab, *, bfd: bool) -> None:
        """Expect a session from each of the lab's machines."""
        sessions = [
            SESSION.format(
                name=machine.name,
                own=ADDRESS,
                its_system=ITS_SYSTEM,
                address=machine.address,
                our_system=OUR_SYSTEM,
                bfd="on" if bfd else "off",
                password=PASSWORD,
            )
            for machine in lab.machines.values()
        ]
        text = BIRD.format(own=ADDRESS) + "".join(sessions)
        self.machine.run("cat > /etc/bird/bird.conf && systemctl restart bird", stdin=text)

    def ways(self, address: str) -> set[str]:
        """The machines by which the address is reached."""
        shown = self.machine.run(f"ip route show {address}")
        return {word for word in shown.split() if word.startswith("10.199.50.")}

    def watched(self) -> set[str]:
        """The machines whose paths are watched by BFD, and are up."""
        lines = self.machine.run("birdc show bfd sessions").splitlines()
        return {line.split()[0] for line in lines if " Up " in line}

    @contextmanager
    def missing(self, address: str, machine: Machine) -> Iterator[list[float]]:
        """Afterwards, in the list: the seconds from the block's begin until the way was withdrawn.

        Looked for on the router itself: a look from here takes longer than BFD.
        """
        look = f"ip route show {address} | grep -qF {machine.address}"
        command = f"echo begun; while {look}; do sleep 0.02; done; date +%s.%N"
        seconds: list[float] = []
        with ThreadPoolExecutor(1) as pool:
            watching = pool.submit(self.machine.run, command)
            begun = time.time()
            yield seconds
            seconds.append(float(watching.result().split()[-1]) - begun)


@contextmanager
def running_router(lab: Lab, folder: Path) -> Iterator[Router]:
    """The router for as long as the block runs."""
    host = {"address": ADDRESS, "parts": ["worker"]}
    with_router = lab.changed(folder, lambda site: site["hosts"].update({NAME: host}))
    vagrant_up(with_router, NAME)
    machine = with_router.machines[NAME]
    try:
        machine.run(
            "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install bird2"
        )
        yield Router(machine)
    finally:
        lab.podman("rm", "--force", "--volumes", machine.container)


def with_routing(folder: Path, site: dict[str, Any], **peer: Any) -> None:
    """Add the router, and a pool that it is told about, to a site file of ``folder``."""
    password = folder / "bgp"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    site["load_balancer"]["pools"]["routed"] = {
        "addresses": [POOL],
        "announce": "bgp",
        "auto_assign": False,
    }
    router = {"address": ADDRESS, "asn": ITS_SYSTEM, "password": {"file": "bgp"}, **peer}
    site["load_balancer"]["bgp"] = {"asn": OUR_SYSTEM, "peers": [router]}
