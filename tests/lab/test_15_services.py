"""What a commercial cloud gives with a cluster, on the lab's own machines."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from tests.lab.machines import Lab
from tests.lab.services import CERTIFICATE, CLAIM, NAMESPACE, ask, web, with_claim
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def services(lab: Lab) -> Iterator[Lab]:
    """A namespace for what a user brings."""
    lab.kubectl("create", "namespace", NAMESPACE)
    yield lab
    lab.kubectl("delete", "namespace", NAMESPACE, "--timeout=120s")


def ran(lab: Lab, name: str) -> bool:
    """Whether a pod that runs once came to a good end."""
    printed = lab.kubectl("-n", NAMESPACE, "get", "pod", name, "-o", "jsonpath={.status.phase}")
    return printed.strip() == "Succeeded"


def test_every_machine_has_figures(lab: Lab) -> None:
    def shown() -> set[str]:
        lines = lab.kubectl("top", "nodes", "--no-headers").splitlines()
        return {line.split()[0] for line in lines if "<unknown>" not in line}

    wait_until("figures of all machines", lambda: shown() == set(lab.machines), seconds=120)


def test_all_of_it_fits_into_one_host(report: Callable[[str], None]) -> None:
    """Machines, cluster, services and this test together, which need 24 GiB at the most."""
    figures = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (
        int(figures[name].split()[0]) / 2**20 for name in ("MemTotal", "MemAvailable")
    )
    report(f"memory in use on the host: {total - available:.1f} GiB of {total:.1f} GiB")
    assert total - available < 24


def test_a_claim_without_a_class_is_bound_and_keeps_its_data(services: Lab) -> None:
    services.kubectl("apply", "-f", "-", stdin=CLAIM)
    services.kubectl("apply", "-f", "-", stdin=with_claim("writes", "echo lasting > /kept/text"))
    wait_until("the claim's first pod", lambda: ran(services, "writes"), seconds=120)
    claim = json.loads(services.kubectl("-n", NAMESPACE, "get", "pvc", "kept", "-o", "json"))
    assert (claim["status"]["phase"], claim["spec"]["storageClassName"]) == ("Bound", "standard")

    services.kubectl("-n", NAMESPACE, "delete", "pod", "writes", "--wait")
    services.kubectl("apply", "-f", "-", stdin=with_claim("reads", "grep -x lasting /kept/text"))
    wait_until("the claim's second pod", lambda: ran(services, "reads"), seconds=60)

    volume = claim["spec"]["volumeName"]
    folders = {
        name: machine.run(f"ls /var/lib/local-storage | grep -c {volume} || true").strip()
        for name, machine in services.machines.items()
    }
    assert sorted(folders.values()) == ["0"] * (len(folders) - 1) + ["1"], folders


def test_a_volume_goes_with_its_claim(services: Lab) -> None:
    services.kubectl("-n", NAMESPACE, "delete", "pod", "reads", "--wait")
    services.kubectl("-n", NAMESPACE, "delete", "pvc", "kept", "--wait")

    def left() -> list[str]:
        return [
            name
            for name, machine in services.machines.items()
            if machine.run("ls -A /var/lib/local-storage").strip()
        ]

    wait_until("no machine keeps data", lambda: not left(), seconds=60)


def test_a_service_has_its_fixed_address(services: Lab) -> None:
    first, _, _ = pool(services).partition("-")
    address = f"{first.rpartition('.')[0]}.{int(first.rpartition('.')[2]) + 5}"
    services.kubectl("apply", "-f", "-", stdin=web(address, "hello"))
    wait_until("an answer from outside", lambda: ask(address) == "hello", seconds=120)
    service = json.loads(
        services.kubectl("-n", NAMESPACE, "get", "service", "deployment", "-o", "json")
    )
    assert service["status"]["loadBalancer"]["ingress"][0]["ip"] == address


def pool(lab: Lab) -> str:
    """The addresses of the lab's pool."""
    pools = yaml.safe_load(lab.site_file.read_text())["load_balancer"]["pools"]
    return str(pools["public"]["addresses"][0])


def test_the_sites_authority_signs_a_certificate(services: Lab) -> None:
    services.kubectl("apply", "-f", "-", stdin=CERTIFICATE)

    def signed() -> bool:
        path = "jsonpath={.data.tls\\.crt}"
        printed = services.kubectl("-n", NAMESPACE, "get", "secret", "web-tls", "-o", path)
        (leaf, *_) = x509.load_pem_x509_certificates(b64decode(printed))
        leaf.verify_directly_issued_by(authority)
        return True

    store = services.state / "secrets"
    authority = x509.load_pem_x509_certificate((store / "cert_manager/site-ca.crt").read_bytes())
    wait_until("a certificate of the site's authority", signed, seconds=60)


def test_the_authoritys_key_is_in_no_record(lab: Lab) -> None:
    key = (lab.state / "secrets/cert_manager/site-ca.key").read_text().splitlines()[1]
    for path in (lab.state / "runs").glob("*.jsonl"):
        assert key not in path.read_text()
    assert key not in lab.provision("inventory")
    for name, machine in lab.machines.items():
        found = machine.run("grep -rlFf - /var/log /etc /run/log || true", stdin=key)
        assert found == "", (name, found)


def test_an_address_in_use_is_refused(lab: Lab, tmp_path: Path) -> None:
    """One of the machines has taken an address, as a forgotten printer would."""
    taken = f"{pool(lab).partition('-')[0].rpartition('.')[0]}.230"
    more = {"more": {"addresses": [taken]}}
    changed = lab.changed(tmp_path, lambda site: site["load_balancer"]["pools"].update(more))
    machine = lab.machines[list(lab.machines)[-1]]
    device = machine.run("ip -o route get 192.0.2.1 | sed 's/.* dev \\([^ ]*\\).*/\\1/'").strip()
    machine.run(f"ip address add {taken}/32 dev {device}")
    try:
        printed = changed.provision("up", expect=8)
        assert f"{taken} (" in printed
        pools = lab.kubectl("-n", "metallb-system", "get", "ipaddresspools", "-o", "name")
        assert "more" not in pools
    finally:
        machine.run(f"ip address delete {taken}/32 dev {device}")


def test_what_was_damaged_is_named_and_restored_alone(lab: Lab) -> None:
    """One object is deleted, a setting, a text and a value of a chart are edited by hand."""
    lab.kubectl("-n", "local-storage", "delete", "deployment", "local-path-provisioner")
    patch(lab, "metallb-system", "ipaddresspool/public", {"spec": {"autoAssign": False}})
    patch(lab, "kube-system", "deployment/metrics-server", {"spec": {"replicas": 2}})
    text = {"data": {"config.json": '{"nodePathMap": []}'}}
    patch(lab, "local-storage", "configmap/local-path-config", text)
    planned = json.loads(lab.provision("plan", "--json", expect=2))["phases"]
    reasons = {
        name: {why for whys in decision["reasons"].values() for why in whys}
        for name, decision in planned.items()
        if decision["decision"] == "run"
    }
    assert reasons == {
        "local_storage": {
            "object Deployment local-storage/local-path-provisioner is missing",
            "object ConfigMap local-storage/local-path-config differs in data.config.json",
        },
        "load_balancer": {"object IPAddressPool metallb-system/public differs in spec.autoAssign"},
        "metrics_server": {"object Deployment kube-system/metrics-server differs in spec.replicas"},
    }
    lab.provision("up")
    touched = {event["phase"] for event in lab.newest_journal() if event["event"] == "task"}
    assert touched == set(reasons)
    lab.provision("plan", expect=0)


def patch(lab: Lab, namespace: str, name: str, change: dict[str, Any]) -> None:
    """Change an object as an administrator would by hand."""
    text = json.dumps(change)
    lab.kubectl("-n", namespace, "patch", name, "--type=merge", "--patch", text)
