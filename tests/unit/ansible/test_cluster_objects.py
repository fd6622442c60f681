"""What the module ``cluster_objects`` does with kubectl, in which order, and what it tells."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from provision.ansible.plugins.module_utils.cluster_objects import work
from provision.ansible.plugins.module_utils.cluster_objects.kubectl import (
    Answer,
    Kubectl,
    Object,
    ObjectsError,
    without_secrets,
)

OK = Answer(0, "", "")


def thing(kind: str, name: str, api: str = "v1", **more: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, **more}


NAMESPACE = thing("Namespace", "metallb-system")
DEFINITION = thing("CustomResourceDefinition", "pools.metallb.io", "apiextensions.k8s.io/v1")
WORKLOAD = thing("Deployment", "controller", "apps/v1")
SERVICE = thing("APIService", "v1beta1.metrics.k8s.io", "apiregistration.k8s.io/v1")
POOL = thing("IPAddressPool", "public", "metallb.io/v1beta1")
ALL = [POOL, WORKLOAD, DEFINITION, SERVICE, NAMESPACE]


@dataclass
class FakeCluster(Kubectl):
    """Keeps objects by name; its webhook refuses the first few instances."""

    kept: dict[str, Object] = field(default_factory=dict)
    refusals: int = 0
    refusal: str = "Internal error occurred: failed calling webhook: connection refused"
    down: bool = False
    unseen: int = 0
    """How often a new definition has no conditions when somebody asks."""
    established: list[str] = field(default_factory=list)
    rolled: list[str] = field(default_factory=list)

    def differs(self, objects: Sequence[Object]) -> bool:
        return any(self.kept.get(item["metadata"]["name"]) != item for item in objects)

    def apply(self, objects: Sequence[Object]) -> Answer:
        if POOL in objects and self.refusals:
            self.refusals -= 1
            return Answer(1, "", self.refusal)
        self.kept.update({item["metadata"]["name"]: item for item in objects})
        return OK

    def delete(self, objects: Sequence[Object], seconds: int) -> Answer:
        if self.down:
            return Answer(
                1,
                "",
                "The connection to the server 10.0.0.1:6443 was refused - did you"
                " specify the right host or port?",
            )
        for item in objects:
            self.kept.pop(item["metadata"]["name"], None)
        return OK

    def rolled_out(self, deployments: Sequence[Object], seconds: float) -> Answer:
        if POOL["metadata"]["name"] not in self.kept:
            self.rolled += [item["metadata"]["name"] for item in deployments]
        return OK

    def wait(self, condition: str, objects: Sequence[Object], seconds: int) -> Answer:
        if self.unseen:
            self.unseen -= 1
            said = "error: .status.conditions accessor error: <nil> is of the type <nil>, expected"
            return Answer(1, "", f"{said} []interface{{}}")
        self.established += [item["metadata"]["name"] for item in objects]
        return OK


def test_what_others_rest_on_comes_first() -> None:
    assert work.stages(ALL) == [[DEFINITION, NAMESPACE], [WORKLOAD, SERVICE], [POOL]]
    assert work.stages([POOL]) == [[POOL]]


def test_everything_is_applied_once() -> None:
    cluster = FakeCluster()
    assert work.differ(ALL, cluster)
    assert work.apply(ALL, cluster)
    assert cluster.established == ["pools.metallb.io"]
    assert len(cluster.kept) == len(ALL)
    assert not work.differ(ALL, cluster)
    assert not work.apply(ALL, cluster)


def test_instances_are_judged_by_what_was_just_applied() -> None:
    cluster = FakeCluster()
    work.apply(ALL, cluster)
    assert cluster.rolled == ["controller"]
    cluster.kept["public"] = {}
    cluster.rolled.clear()
    assert work.apply(ALL, cluster)
    assert cluster.rolled == [], "what runs already is not waited for"


def test_a_workload_that_does_not_come_up_is_told_of() -> None:
    class Stuck(FakeCluster):
        def rolled_out(self, deployments: Sequence[Object], seconds: float) -> Answer:
            return Answer(1, "", "error: timed out waiting for the condition")

    with pytest.raises(ObjectsError, match="timed out"):
        work.apply(ALL, Stuck())


def test_instances_wait_for_their_webhook() -> None:
    cluster = FakeCluster(refusals=3)
    assert work.apply(ALL, cluster, interval=0)
    assert cluster.kept["public"] == POOL


def test_a_definition_that_was_not_looked_at_yet_is_waited_for() -> None:
    cluster = FakeCluster(unseen=2)
    assert work.apply(ALL, cluster, interval=0)
    assert cluster.established == ["pools.metallb.io"]
    assert cluster.kept["public"] == POOL


def test_a_webhook_that_never_answers_is_told_of() -> None:
    with pytest.raises(ObjectsError, match=r"in vain .* IPAddressPool public:\n.*webhook"):
        work.apply(ALL, FakeCluster(refusals=10**6), seconds=0, interval=0)


def test_what_is_refused_for_good_is_not_tried_again() -> None:
    cluster = FakeCluster(refusals=1, refusal="spec.addresses: Invalid value")
    with pytest.raises(ObjectsError, match=r"spec\.addresses"):
        work.apply(ALL, cluster)


def test_deleting() -> None:
    cluster = FakeCluster()
    work.apply(ALL, cluster)
    assert work.delete(ALL, cluster)
    assert cluster.kept == {}
    assert not work.delete(ALL, FakeCluster(down=True)), "a cluster that is gone has nothing"


def test_no_value_of_a_secret_is_told() -> None:
    secret = thing("Secret", "s", data={"key": b64encode(b"hunter2\nline").decode()})
    said = f"cannot take {secret['data']['key']}: hunter2 in line 1"
    assert without_secrets(said, [WORKLOAD, secret]) == "cannot take ***: *** in *** 1"


def test_kinds_that_are_gone_are_no_complaint() -> None:
    assert Answer(1, "", 'no matches for kind "IPAddressPool"\n\n').only_unknown_kinds
    assert not Answer(1, "", 'no matches for kind "X"\nforbidden').only_unknown_kinds
