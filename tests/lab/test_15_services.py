"""What a commercial cloud gives with a cluster, on the lab's own machines."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.lab.machines import Lab
from tests.lab.services import NAMESPACE, web
from tests.lab.waiting import wait_until


@pytest.fixture(scope="module")
def services(lab: Lab) -> Iterator[Lab]:
    """A namespace for what a user brings."""
    lab.kubectl("create", "namespace", NAMESPACE)
    yield lab
    lab.kubectl("delete", "namespace", NAMESPACE, "--timeout=120s")


def ask(address: str) -> str:
    """What the web server behind ``address`` says to someone outside of the cluster."""
    try:
        with urllib.request.urlopen(f"http://{address}/", timeout=2) as answer:
            return str(answer.read().decode()).strip()
    except OSError as error:
        raise AssertionError(str(error)) from error


def test_a_service_has_its_fixed_address(services: Lab) -> None:
    first, _, _ = pool(services).partition("-")
    address = f"{first.rpartition('.')[0]}.{int(first.rpartition('.')[2]) + 5}"
    services.kubectl("apply", "-f", "-", stdin=web(address, "hello"))
    wait_until("an answer from outside", lambda: ask(address) == "hello", seconds=120)
    service = json.loads(services.kubectl("-n", NAMESPACE, "get", "service", "web", "-o", "json"))
    assert service["status"]["loadBalancer"]["ingress"][0]["ip"] == address


def pool(lab: Lab) -> str:
    """The addresses of the lab's pool."""
    pools = yaml.safe_load(lab.site_file.read_text())["load_balancer"]["pools"]
    return str(pools["public"]["addresses"][0])


def test_an_address_in_use_is_refused(lab: Lab, tmp_path: Path) -> None:
    """One of the machines has taken an address, as a forgotten printer would."""
    data = yaml.safe_load(lab.site_file.read_text())
    for name in ("key", "known_hosts"):
        path = (lab.site_file.parent / data["connection"][name]).resolve()
        data["connection"][name] = str(path)
    taken = f"{pool(lab).rpartition('.')[0]}.230"
    data["load_balancer"]["pools"]["more"] = {"addresses": [taken]}
    changed = tmp_path / "site.yaml"
    changed.write_text(yaml.safe_dump(data))
    machine = lab.machines[list(lab.machines)[-1]]
    device = machine.run("ip -o route get 192.0.2.1 | sed 's/.* dev \\([^ ]*\\).*/\\1/'").strip()
    machine.run(f"ip address add {taken}/32 dev {device}")
    try:
        printed = Lab(changed, lab.state_home).provision("up", expect=8)
        assert f"{taken} (" in printed
        pools = lab.kubectl("-n", "metallb-system", "get", "ipaddresspools", "-o", "name")
        assert "more" not in pools
    finally:
        machine.run(f"ip address delete {taken}/32 dev {device}")


def test_a_changed_pool_is_named_and_restored_alone(lab: Lab) -> None:
    change = '{"spec": {"autoAssign": false}}'
    pool_of = ("-n", "metallb-system", "patch", "ipaddresspool", "public")
    lab.kubectl(*pool_of, "--type=merge", "--patch", change)
    planned = json.loads(lab.provision("plan", "--json", expect=2))["phases"]
    reasons = {
        name: [why for whys in decision["reasons"].values() for why in whys]
        for name, decision in planned.items()
        if decision["decision"] == "run"
    }
    differs = "object IPAddressPool metallb-system/public differs in spec.autoAssign"
    assert reasons == {"load_balancer": [differs]}
    lab.provision("up")
    lab.provision("plan", expect=0)
