"""Any one control-plane machine may go: the API and workloads go on, and it comes back alone."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.machines import Lab, Machine
    from tests.lab.workload import Workload


def test_the_endpoints_holder_dies(
    lab: Lab, workload: Workload, report: Callable[[str], None]
) -> None:
    _dies_and_comes_back(lab, workload, report, _holder(lab))


@pytest.mark.soak
@pytest.mark.parametrize("name", ["n1", "n2", "n3"])
def test_any_control_plane_machine_dies(
    lab: Lab, workload: Workload, report: Callable[[str], None], name: str
) -> None:
    _dies_and_comes_back(lab, workload, report, lab.machines[name])


def _dies_and_comes_back(
    lab: Lab, workload: Workload, report: Callable[[str], None], victim: Machine
) -> None:
    held = victim == _holder(lab)
    others = [name for name in lab.machines if name != victim.name]
    lab.control_plane.sort(key=victim.name.__eq__)
    victim.kill()
    took = wait_until("the API answers at the endpoint", lambda: _answers(lab), seconds=30)
    part = "held the endpoint" if held else "did not hold the endpoint"
    report(f"API back {took:.1f} s after {victim.name}, which {part}, was killed")
    assert took < 10
    wait_until(
        "workloads answer", lambda: workload.ask(others[0], others[1]) == others[1], seconds=60
    )

    victim.start()
    took = wait_until("status says healthy", lambda: lab.provision("status"), seconds=240)
    report(f"status says healthy {took:.1f} s after {victim.name} was switched on")
    lab.provision("plan", expect=0)


def _holder(lab: Lab) -> Machine:
    address = lab.endpoint.partition(":")[0]
    return next(
        machine
        for machine in lab.machines.values()
        if f" {address}/" in machine.run("ip -o address")
    )


def _answers(lab: Lab) -> bool:
    authority = lab.state / "secrets" / "kubernetes" / "ca.crt"
    context = ssl.create_default_context(cafile=str(authority))
    try:
        with urllib.request.urlopen(
            f"https://{lab.endpoint}/readyz", context=context, timeout=1
        ) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
