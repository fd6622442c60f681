"""From virgin machines to a cluster that works, and nothing left to do after."""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Callable

from provision.app import read_site
from provision.plan import phases_of
from tests.bench.noop import measure
from tests.lab import leaks
from tests.lab.machines import Lab
from tests.lab.processes import ProcessWatch
from tests.lab.waiting import wait_until
from tests.lab.workload import Workload


def test_plan_changes_nothing_on_virgin_machines(lab: Lab) -> None:
    before = {name: machine.look() for name, machine in lab.machines.items()}
    printed = lab.provision("plan", expect=2)
    after = {name: machine.look() for name, machine in lab.machines.items()}
    for name, looks in before.items():
        for kind, things in looks.items():
            assert after[name][kind] == things, f"{name}: {kind} changed"
    for phase in ("machine", "depot", "containerd", "api_endpoint", "kubernetes"):
        assert phase in printed


def test_check_finds_the_machines_fit(lab: Lab) -> None:
    findings = json.loads(lab.provision("check", "--json"))
    assert [item for item in findings if item["severity"] == "error"] == []


def test_up_makes_a_cluster_and_proves_it(lab: Lab, report: Callable[[str], None]) -> None:
    lab.provision("up")
    proofs = [event["verdict"] for event in lab.newest_journal() if "verdict" in event]
    for proof in proofs:
        report(f"up: {proof['proof']}: {proof['seconds']} s, {proof['detail']}")
    assert {"services by name", "network policies"} <= {proof["proof"] for proof in proofs}
    assert all(proof["proven"] for proof in proofs)
    assert "provision-verify" not in lab.kubectl("get", "namespaces", "-o", "name")
    nodes = json.loads(lab.kubectl("get", "nodes", "-o", "json"))["items"]
    ready = {
        node["metadata"]["name"]
        for node in nodes
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready" and condition["status"] == "True"
    }
    assert ready == set(lab.machines)


def test_system_pods_run(lab: Lab) -> None:
    pods = json.loads(lab.kubectl("-n", "kube-system", "get", "pods", "-o", "json"))["items"]
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}
    names = " ".join(pod["metadata"]["name"] for pod in pods)
    for part in ("etcd", "kube-apiserver", "kube-scheduler", "coredns", "cilium"):
        assert part in names


def test_the_api_answers_at_the_endpoint(lab: Lab) -> None:
    authority = lab.state / "secrets" / "kubernetes" / "ca.crt"
    context = ssl.create_default_context(cafile=str(authority))
    with urllib.request.urlopen(
        f"https://{lab.endpoint}/readyz", context=context, timeout=10
    ) as answer:
        assert answer.read() == b"ok"


def test_status_says_healthy(lab: Lab) -> None:
    lab.provision("status")


def test_pods_reach_services_by_name_on_every_other_machine(workload: Workload) -> None:
    names = list(workload.lab.machines)
    for client, server in zip(names, names[1:] + names[:1], strict=True):
        assert workload.ask(client, server) == server


def test_a_network_policy_denies(workload: Workload) -> None:
    first, second, *_ = workload.lab.machines
    assert workload.ask(first, second) == second
    workload.close()
    try:
        wait_until("traffic is refused", lambda: workload.refuses(first, second), seconds=30)
    finally:
        workload.open()
    wait_until("traffic passes", lambda: workload.ask(first, second) == second, seconds=30)


def test_up_again_does_nothing_and_starts_no_ansible(lab: Lab) -> None:
    before = {name: machine.look()["files"] for name, machine in lab.machines.items()}
    lab.provision("up", "--no-verify")
    events = {event["event"] for event in lab.newest_journal()}
    assert not events & {"phase-started", "task", "host-failed"}
    after = {name: machine.look()["files"] for name, machine in lab.machines.items()}
    for name, files in before.items():
        assert _ours(after[name]) == _ours(files)
    lab.provision("plan", expect=0)


def test_a_noop_beats_ansibles_own_check(lab: Lab, report: Callable[[str], None]) -> None:
    """Both in one run; less than a tenth for a cluster. `make soak` measures more often.

    What stands beside it is asked over the network, and a dry run of its roles asks little.
    """
    found = measure(str(lab.site_file), 3, lab.environment, checks=1)
    report(
        f"up with nothing to do {found['up_noop_seconds']} s, the same roles by"
        f" ansible-playbook --check {found['ansible_check_seconds']} s"
    )
    more = any(phase.settings.optional for phase in phases_of(read_site(lab.site_file).site))
    assert found["ratio"] < (0.25 if more else 0.1)


def test_anonymous_requests_see_health_and_nothing_else(lab: Lab) -> None:
    machine = lab.machines[lab.control_plane[0]]
    for path, code in (("/readyz", "200"), ("/api", "401"), ("/version", "401")):
        printed = machine.run(
            f"python3 - <<'END'\nimport ssl, urllib.request, urllib.error\n"
            f"c = ssl.create_default_context(cafile='/etc/kubernetes/pki/ca.crt')\n"
            f"u = 'https://{lab.endpoint}{path}'\n"
            f"try:\n    print(urllib.request.urlopen(u, context=c).status)\n"
            f"except urllib.error.HTTPError as e:\n    print(e.code)\nEND"
        )
        assert printed.strip() == code, path


def test_secrets_are_encrypted_in_etcd(lab: Lab) -> None:
    lab.kubectl("create", "secret", "generic", "lab-sealed", "--from-literal=word=OPENSESAME")
    try:
        machine = lab.machines[lab.control_plane[0]]
        raw = machine.run("grep -rlaF OPENSESAME /var/lib/etcd || echo nowhere")
        assert raw.strip() == "nowhere"
    finally:
        lab.kubectl("delete", "secret", "lab-sealed")


def test_no_secret_lies_about(lab: Lab, watch: ProcessWatch) -> None:
    """Search for the real values of every private secret wherever a leak could show."""
    wanted = leaks.needles(leaks.of_the_store(lab))
    assert wanted
    assert leaks.leaks(lab, wanted, watch) == []
    for name in lab.machines:
        assert leaks.readable_by_anyone(lab, name, wanted) == []


def _ours(files: dict[str, list[object]]) -> dict[str, list[object]]:
    """Files that only a run of ours would touch: not those that a living cluster writes."""
    prefixes = ("/etc/", "/usr/", "/opt/", "/var/lib/provision", "/root", "/home")
    return {path: entry for path, entry in files.items() if path.startswith(prefixes)}
