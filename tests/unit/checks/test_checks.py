"""Every case of tests/cases/checks: what was read of machines, and what is found."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.checks import Finding, Needs, check_queries, run_checks
from provision.errors import UnreachableError
from provision.facts import Facts, MachineFacts
from provision.openings import Opening
from provision.site import Site
from tests.support.observed import changed, observed

CASES = Path(__file__).parents[2] / "cases" / "checks"

SITE: Mapping[str, Any] = {
    "name": "unit",
    "network": {"machines": "192.0.2.0/24", "pods": "10.244.0.0/16", "services": "10.96.0.0/16"},
    "hosts": {
        "n1": {"address": "192.0.2.1", "parts": ["control_plane"]},
        "n2": {"address": "192.0.2.2", "parts": ["worker"]},
        "n3": {"address": "192.0.2.3", "parts": ["worker"]},
    },
}

OPENINGS = (
    Opening("6443", "kube-apiserver", "cluster", on="control_plane"),
    Opening("2379-2380", "etcd", "control_plane", on="control_plane"),
    Opening("10250", "kubelet", "cluster"),
    Opening("8472", "VXLAN", "machines", protocol="udp"),
    Opening("30000-32767", "Services", "any"),
    Opening("", "virtual address", "machines", protocol="vrrp"),
    Opening("2049", "NFS", "machines", on=("n2",)),
)


def all_cases() -> list[Any]:
    return [
        pytest.param(case, id=f"{path.stem}: {case['case']}")
        for path in sorted(CASES.glob("*.yaml"))
        for case in yaml.safe_load(path.read_text("utf-8"))
    ]


def read(site: Site, case: Mapping[str, Any]) -> Facts:
    machines = {}
    for number, (name, host) in enumerate(site.hosts.items(), start=1):
        change = case.get("machines", {}).get(name, {})
        if "error" in change:
            fault = UnreachableError(change["error"], found="no route to host", fix="start it")
            machines[name] = MachineFacts(name, error=fault)
        else:
            answer = changed(observed(str(host.address), number), change)
            machines[name] = MachineFacts(name, answer)
    return Facts(machines)


def judge(case: Mapping[str, Any]) -> list[Finding]:
    site = Site.model_validate(changed(SITE, case.get("site", {})))
    needs = Needs(OPENINGS, **needs_of(case))
    return run_checks(site, read(site, case), needs)


def needs_of(case: Mapping[str, Any]) -> dict[str, Any]:
    given = dict(case.get("needs", {}))
    if "virtual_addresses" in given:
        given["virtual_addresses"] = tuple(map(ip_address, given["virtual_addresses"]))
    for key in given.keys() & {"packages", "own_packages", "registries"}:
        given[key] = frozenset(given[key])
    given["bundled"] = {
        release: frozenset(names) for release, names in given.get("bundled", {}).items()
    }
    return given


@pytest.mark.parametrize("case", all_cases())
def test_case(case: Mapping[str, Any]) -> None:
    found = [finding.as_dict() for finding in judge(case)]
    wanted = case["findings"]
    assert [
        {key: item.get(key) for key in expected}
        for item, expected in zip(found, wanted, strict=False)
    ] == wanted, found
    assert len(found) == len(wanted), found


@pytest.mark.parametrize("case", all_cases())
def test_every_finding_says_what_to_do(case: Mapping[str, Any]) -> None:
    assert all(finding.fix for finding in judge(case))


@pytest.mark.parametrize("case", all_cases())
def test_every_error_says_whom_it_is_about(case: Mapping[str, Any]) -> None:
    """Otherwise `up` would not refuse to start with it."""
    assert all(one.host or one.among for one in judge(case) if one.severity == "error")


def test_queries_name_what_the_checks_read() -> None:
    site = Site.model_validate(SITE)
    queries = check_queries(site, Needs(OPENINGS, virtual_addresses=(site.hosts["n1"].address,)))
    assert queries["n1"].connect == {
        "192.0.2.1",
        "192.0.2.2#mtu",
        "192.0.2.2:10250",
        # What is on one machine is asked of no other.
        "192.0.2.2:2049",
        "192.0.2.3#mtu",
        "192.0.2.3:10250",
    }
    # A worker has no business with etcd.
    assert queries["n2"].connect >= {"192.0.2.1:6443", "192.0.2.1:10250"}
    assert "192.0.2.1:2379" not in queries["n2"].connect
    assert all(query.system for query in queries.values())


def test_needs_follow_from_the_site() -> None:
    needs = Needs.of(Site.model_validate(SITE))
    assert needs == Needs()


def test_errors_come_first_then_the_order_of_the_site_file() -> None:
    findings = judge(
        {
            "machines": {
                "n1": {"system": {"swap": [{"name": "/swap", "bytes": 1}]}},
                "n3": {"system": {"architecture": "arm64"}},
                "n2": {"system": {"architecture": "arm64"}},
            }
        }
    )
    assert [(one.severity.value, one.host) for one in findings] == [
        ("error", "n2"),
        ("error", "n3"),
        ("warning", "n1"),
    ]
