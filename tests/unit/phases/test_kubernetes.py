"""What the kubernetes phase decides, and what it configures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.kubeadm import paths
from provision.phase import Blocked, Run, Skip, Unknown
from provision.phases.kubernetes import KubernetesPhase
from tests.support.membership import make_context, make_site, read_all

CASES = Path(__file__).parents[2] / "cases" / "kubernetes"


def cases() -> list[Any]:
    return [
        pytest.param(case, id=f"{path.stem}: {case['name']}")
        for path in sorted(CASES.glob("*.yaml"))
        for case in yaml.safe_load(path.read_text("utf-8"))
    ]


@pytest.mark.parametrize("case", cases())
def test_decision(case: dict[str, Any], tmp_path: Path) -> None:
    context = make_context(make_site(tmp_path))
    facts = read_all(context, case["machines"], case["cluster"])
    decision = KubernetesPhase().decide(context, facts)
    if "blocked" in case:
        assert isinstance(decision, Blocked), decision
        for wanted in case["blocked"]:
            assert any(wanted in finding for finding in decision.findings), decision.findings
    elif "unknown" in case:
        assert isinstance(decision, Unknown), decision
        assert case["unknown"] in decision.until
        assert decision.gate is not None, "it is waited for"
    elif case.get("skip"):
        assert isinstance(decision, Skip), decision
    else:
        assert isinstance(decision, Run), decision
        check_run(decision, case)


def check_run(decision: Run, case: dict[str, Any]) -> None:
    chosen = {host: told["kubernetes_step"] for host, told in decision.variables.items()}
    if "steps" in case:
        assert chosen == case["steps"]
    for word in ("repair", "renew"):
        if word in case:
            found = {host: told[f"kubernetes_{word}"] for host, told in decision.variables.items()}
            assert found == case[word]
    for host, reasons in case.get("reasons", {}).items():
        assert set(reasons) <= set(decision.reasons[host])
    assert set(decision.reasons) == set(decision.variables)


def test_a_change_of_init_yaml_makes_the_api_servers_certificate_anew(tmp_path: Path) -> None:
    context = make_context(make_site(tmp_path))
    machines = {
        "n1": {"is": "member", "old_inputs": [paths.INIT]},
        **dict.fromkeys(("n2", "n3", "n4"), "member"),
    }
    facts = read_all(context, machines, {"nodes": ["n1", "n2", "n3", "n4"]})
    decision = KubernetesPhase().decide(context, facts)
    assert isinstance(decision, Run)
    assert f"{paths.PKI}/apiserver.crt" in decision.variables["n1"]["kubernetes_repair"]


def test_settings_reach_kubeadm_and_the_kubelet(tmp_path: Path) -> None:
    extra = {
        "kubernetes": {
            "version": "1.36.3",
            "kubelet": {"maxPods": 50, "authentication": {"webhook": {"cacheTTL": "1m"}}},
            "kubeadm": {
                "apiServer": {"extraArgs": [{"name": "audit-log-maxage", "value": "7"}]},
                "etcd": {"local": {"extraArgs": [{"name": "quota-backend-bytes", "value": "8"}]}},
            },
        }
    }
    site = make_site(tmp_path, extra)
    variables = KubernetesPhase().variables(make_context(site), "n1")
    kubelet = variables["kubernetes_kubelet_configuration"]
    assert kubelet["maxPods"] == 50
    assert kubelet["authentication"]["webhook"] == {"enabled": True, "cacheTTL": "1m"}
    assert kubelet["authentication"]["anonymous"] == {"enabled": False}
    assert kubelet["nodeStatusMaxImages"] == -1
    assert kubelet["clusterDomain"] == "cluster.local"
    assert kubelet["readOnlyPort"] == 0
    assert kubelet["tlsCertFile"] == f"{paths.PKI}/kubelet.crt"
    cluster = variables["kubernetes_cluster_configuration"]
    arguments = {item["name"]: item["value"] for item in cluster["apiServer"]["extraArgs"]}
    assert arguments["audit-log-maxage"] == "7"
    assert arguments["enable-bootstrap-token-auth"] == "false"
    assert arguments["encryption-provider-config"] == paths.ENCRYPTION
    assert arguments["admission-control-config-file"] == paths.ADMISSION
    assert arguments["audit-policy-file"] == paths.AUDIT
    assert arguments["kubelet-certificate-authority"] == f"{paths.PKI}/ca.crt"
    assert cluster["etcd"]["local"]["imageTag"] == "3.6.8-0"


def test_a_control_plane_machine_is_tainted_unless_it_works_too(tmp_path: Path) -> None:
    hosts = {
        "n1": {"address": "10.0.0.11", "parts": ["control_plane", "worker"]},
        "n2": {"address": "10.0.0.12", "parts": ["control_plane"]},
        "n3": {"address": "10.0.0.13", "parts": ["control_plane"]},
    }
    context = make_context(make_site(tmp_path, {"hosts": hosts}))
    phase = KubernetesPhase()
    both = phase.variables(context, "n1")["kubernetes_join_configuration"]
    alone = phase.variables(context, "n2")["kubernetes_join_configuration"]
    assert both["nodeRegistration"]["taints"] == []
    assert "taints" not in alone["nodeRegistration"]


def test_what_one_machine_is_given_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    more = {
        **{name: host.model_dump(mode="json") for name, host in site.hosts.items()},
        "n5": {"address": "10.0.0.15"},
    }
    phase = KubernetesPhase()
    before = phase.desired(make_context(site), "n1")
    after = phase.desired(make_context(make_site(tmp_path, {"hosts": more})), "n1")
    assert before == after


def test_pods_of_a_family_that_machines_lack_are_refused(tmp_path: Path) -> None:
    network = {
        "machines": "10.0.0.0/24",
        "pods": ["10.244.0.0/16", "fd00::/56"],
        "services": ["10.96.0.0/16", "fd01::/108"],
    }
    site = make_site(tmp_path, {"network": network})
    pods, services = KubernetesPhase().validate_site(site)
    assert "network.pods fd00::/56 is IPv6" in pods
    assert "network.services fd01::/108 is IPv6" in services


def test_no_rendered_file_holds_a_secret_or_a_token(tmp_path: Path) -> None:
    context = make_context(make_site(tmp_path))
    for host in context.site.hosts:
        for file in KubernetesPhase().desired(context, host).files:
            assert file.source in ("content", "blob", "secret")
            assert "PRIVATE KEY" not in (file.content or "")
            assert "token:" not in (file.content or "")
