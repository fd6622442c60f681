"""A machine more in the site file, of another release: ``up`` touches it alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.lab.machines import vagrant_up

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.machines import Lab

NEW = "n4"


def test_a_fourth_machine_is_the_only_one_touched(lab: Lab, tmp_path: Path) -> None:
    machine = {"address": "10.199.50.14", "parts": ["worker"]}
    grown = lab.changed(tmp_path, lambda site: site["hosts"].update({NEW: machine}))
    vagrant_up(grown, NEW, PROVISION_LAB_DEBIAN="13")
    try:
        grown.provision("up", "--no-verify")
        touched = {
            event["host"]
            for event in grown.newest_journal()
            if event["event"] == "task" and event["status"] == "changed"
        }
        # The other machines' lists name all machines (firewall, host names), so they may be
        # brought up to date; the parts that run the cluster are the new machine's alone.
        worked_on = {
            (event["phase"], host)
            for event in grown.newest_journal()
            if event["event"] == "phase-finished"
            for host in event.get("hosts", [])
        }
        assert NEW in touched
        assert {host for phase, host in worked_on if phase in ("containerd", "kubernetes")} == {NEW}
        nodes = json.loads(grown.kubectl("get", "nodes", "-o", "json"))["items"]
        assert {node["metadata"]["name"] for node in nodes} == set(grown.machines)
        releases = {node["status"]["nodeInfo"]["osImage"].split()[2] for node in nodes}
        assert releases == {"12", "13"}
        grown.provision("plan", expect=0)
    finally:
        grown.kubectl("delete", "node", NEW, "--ignore-not-found")
        grown.podman("rm", "--force", "--volumes", grown.machines[NEW].container)
