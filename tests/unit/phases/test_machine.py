from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from provision.phases.machine import MachinePhase, MachineSettings
from tests.support.cases import make_context, make_site

PHASE = MachinePhase()


def variables(host: str, machine: dict[str, Any] | None = None, **site: Any) -> dict[str, Any]:
    context = make_context(make_site({"machine": machine or {}, **site}))
    return dict(PHASE.variables(context, host))


def rule(host: str, ports: str, **site: Any) -> dict[str, Any]:
    (found,) = (
        item for item in variables(host, **site)["machine_firewall_rules"] if item["ports"] == ports
    )
    return dict(found)


def test_adding_a_worker_changes_nothing_for_the_others() -> None:
    more = {"hosts": {"n5": {"address": "192.0.2.5", "parts": ["worker"]}}}
    for host in ("n1", "n2", "n3", "n4"):
        assert variables(host, **more) == variables(host)


def test_a_machine_knows_itself_and_the_control_plane_by_name() -> None:
    assert [line["names"] for line in variables("n4")["machine_hosts"]] == [
        ["n1"],
        ["n2"],
        ["n3"],
        ["n4"],
    ]


def test_etcd_is_open_to_control_plane_machines_alone() -> None:
    assert rule("n1", "2379-2380")["ipv4"] == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert not rule("n1", "2379-2380")["pods"]


def test_a_worker_opens_only_what_a_worker_needs() -> None:
    ports = {item["ports"] for item in variables("n4")["machine_firewall_rules"]}
    assert "10250" in ports
    assert not ports & {"6443", "2379-2380", "7443"}


def test_the_api_is_open_to_everyone_and_the_kubelet_to_the_cluster() -> None:
    assert rule("n1", "7443")["ipv4"] == ["0.0.0.0/0"]
    assert rule("n1", "10250")["ipv4"] == ["192.0.2.0/24"]
    assert rule("n1", "10250")["pods"]


def test_a_router_comes_in_from_its_address_alone() -> None:
    router = {"address": "192.0.2.254", "asn": 64512, "bfd": {}}
    found = rule("n4", "3784", load_balancer={"bgp": {"asn": 64513, "peers": [router]}})
    assert (found["protocol"], found["ipv4"], found["pods"]) == ("udp", ["192.0.2.254"], False)


def test_an_opening_of_the_site_file_is_kept_to_its_sources() -> None:
    allow = [{"ports": 9100, "sources": ["198.51.100.0/24"], "comment": "monitoring"}]
    found = variables("n1", {"firewall": {"allow": allow}})["machine_firewall_rules"][-1]
    assert found == {
        "protocol": "tcp",
        "ports": "9100",
        "ipv4": ["198.51.100.0/24"],
        "ipv6": [],
        "pods": False,
        "why": "monitoring",
    }


def test_the_ssh_port_of_the_connection_stays_open() -> None:
    hosts = {"n1": {"connection": {"port": 2222}}}
    assert variables("n1", hosts=hosts)["machine_firewall_ssh_port"] == 2222
    assert variables("n2", hosts=hosts)["machine_firewall_ssh_port"] == 22


@pytest.mark.parametrize(
    "settings",
    [
        {"firewall": {"allow": [{"ports": "70000"}]}},
        {"firewall": {"allow": [{"ports": "90-80"}]}},
        {"firewall": {"allow": [{"ports": "80; drop"}]}},
        {"firewall": {"allow": [{"ports": 80, "comment": 'a"b'}]}},
        {"packages": ["Bad Name"]},
        {"packages": ["-o=x"]},
        {"sysctls": {"vm.x y": 1}},
        {"time": {"config": ["a\nb"]}},
        {"time": {"servers": ["a b"]}},
        {"hosts": {"192.0.2.9": ["bad name"]}},
        {"open_files": 10},
        {"unknown": 1},
    ],
)
def test_what_could_break_a_file_of_the_machine_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MachineSettings.model_validate(settings)
