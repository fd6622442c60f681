"""No machine is special for ever: the one that began the cluster dies, and an empty one comes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.lab.machines import vagrant_up
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.machines import Lab


@pytest.mark.soak
def test_the_first_machine_is_replaced_by_an_empty_one(
    lab: Lab, report: Callable[[str], None]
) -> None:
    first, *others = lab.control_plane
    lab.control_plane.sort(key=first.__eq__)
    lab.podman("rm", "--force", "--volumes", lab.machines[first].container)
    took = wait_until("the cluster misses it", lambda: not _is_ready(lab, first), seconds=120)
    report(f"{first}, which began the cluster, was thrown away; not Ready after {took:.0f} s")
    vagrant_up(lab, first)
    lab.provision("up", "--no-verify")
    worked_on = {
        host
        for event in lab.newest_journal()
        if event["event"] == "phase-finished" and event["phase"] in ("containerd", "kubernetes")
        for host in event.get("hosts", [])
    }
    assert worked_on == {first}
    assert all(_is_ready(lab, name) for name in (first, *others))
    lab.provision("status")
    lab.provision("plan")


def _is_ready(lab: Lab, name: str) -> bool:
    node = json.loads(lab.kubectl("get", "node", name, "-o", "json"))
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in node["status"]["conditions"]
    )
