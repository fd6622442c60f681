"""What the cilium phase decides, and which values it gives the chart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.errors import UnreachableError
from provision.facts import ClusterFacts, Facts, MachineFacts, ObjectState, Query
from provision.phase import Context, Manifest, Run, Skip, Unknown
from provision.phases.cilium import CiliumPhase
from provision.state import DesiredState
from tests.support.cases import Machine
from tests.support.membership import make_context, make_site

CASES = Path(__file__).parents[2] / "cases" / "cilium" / "objects.yaml"
OBJECTS = [
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "cilium-config", "namespace": "kube-system"},
    },
    {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "cilium", "namespace": "kube-system"},
    },
]


NOTHING = Machine(Query(), DesiredState()).virgin()
"""What is read on a machine where nothing is asked."""


class TwoObjects(CiliumPhase):
    """The phase with a chart of two objects, so that no helm is needed."""

    def objects(self, context: Context) -> Sequence[Manifest]:
        return OBJECTS


def read_facts(context: Context, case: dict[str, Any]) -> Facts:
    machines = {
        name: MachineFacts(
            name,
            NOTHING,
            error=UnreachableError("gone") if name in case.get("silent", ()) else None,
        )
        for name in context.site.hosts
    }
    if case.get("cluster") == "down":
        return Facts(machines, ClusterFacts(reachable=False, error="refused"))
    objects = {
        name: ObjectState(exists=True, differences=fields)
        for name, fields in case["present"].items()
    }
    return Facts(machines, ClusterFacts(reachable=True, objects=objects))


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case["name"]) for case in yaml.safe_load(CASES.read_text("utf-8"))],
)
def test_decision(case: dict[str, Any], tmp_path: Path) -> None:
    context = make_context(make_site(tmp_path))
    decision = TwoObjects().decide(context, read_facts(context, case))
    if "unknown" in case:
        assert isinstance(decision, Unknown)
        assert (decision.until, decision.found) == (case["unknown"], "refused")
        assert decision.gate is not None
    elif case.get("skip"):
        assert isinstance(decision, Skip)
    else:
        assert isinstance(decision, Run)
        assert decision.reasons == case["run"]
        (leader,) = decision.hosts
        applied = decision.variables[leader]["cilium_objects"]
        assert [item["metadata"]["name"] for item in applied] == case["applied"]


def test_values(tmp_path: Path) -> None:
    site = make_site(tmp_path, {"cilium": {"values": {"hubble": {"enabled": True}, "mtu": 1400}}})
    values = CiliumPhase().values(site)
    assert values["kubeProxyReplacement"] is True
    assert (values["k8sServiceHost"], values["k8sServicePort"]) == ("10.0.0.11", 6443)
    assert values["hubble"] == {"enabled": True, "tls": {"auto": {"method": "cronJob"}}}
    assert values["mtu"] == 1400
    assert values["resources"]["requests"]["cpu"], "it does not starve"
    assert values["operator"]["replicas"] == 2


def test_kube_proxy_is_not_to_be_had(tmp_path: Path) -> None:
    site = make_site(tmp_path, {"cilium": {"values": {"kubeProxyReplacement": False}}})
    (problem,) = CiliumPhase().validate_site(site)
    assert "no kube-proxy is installed" in problem
