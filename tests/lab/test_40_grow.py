"""A machine more in the site file: ``up`` touches it alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import yaml

from tests.lab.machines import Lab, vagrant_up

if TYPE_CHECKING:
    from pathlib import Path

NEW = "n4"


def test_a_fourth_machine_is_the_only_one_touched(lab: Lab, tmp_path: Path) -> None:
    grown = _grown(lab, tmp_path)
    vagrant_up(grown, NEW)
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
        grown.provision("plan", expect=0)
    finally:
        grown.kubectl("delete", "node", NEW, "--ignore-not-found")
        grown.podman("rm", "--force", "--volumes", grown.machines[NEW].container)
    lab.provision("up", "--no-verify")


def _grown(lab: Lab, folder: Path) -> Lab:
    """The lab with one machine more, in a site file of its own."""
    data = yaml.safe_load(lab.site_file.read_text())
    for key in ("key", "known_hosts"):
        data["connection"][key] = str((lab.site_file.parent / data["connection"][key]).resolve())
    data["hosts"][NEW] = {"address": "10.199.50.14", "parts": ["worker"]}
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return Lab(path, lab.state_home)
