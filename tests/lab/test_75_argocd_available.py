"""Argo CD highly available: any machine may go, and single again it leaves nothing behind."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.lab.argocd import LOOKS, ArgoCd, argo_cd
from tests.lab.machines import Lab
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.platform

IMAGE = "docker.io/library/busybox:1.35"
NAMESPACE = "lab-available"
NAMED = "app.kubernetes.io/name"
SPREAD = (
    "argocd-applicationset-controller",
    "argocd-redis-ha",
    "argocd-redis-ha-haproxy",
    "argocd-repo-server",
    "argocd-server",
)
"""What is on more than one machine at a time."""
ONCE = ("argocd-application-controller", "argocd-notifications-controller")
"""What moves."""
KINDS = (
    "deployments,statefulsets,services,configmaps,networkpolicies.networking.k8s.io,"
    "poddisruptionbudgets,serviceaccounts,roles,rolebindings,secrets"
)


def application(url: str) -> str:
    wanted: dict[str, Any] = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "web", "namespace": "argocd"},
        "spec": {
            "project": "default",
            "source": {"repoURL": url, "path": "web", "targetRevision": "main"},
            "destination": {
                "server": "https://kubernetes.default.svc",
                "namespace": NAMESPACE,
            },
            "syncPolicy": {
                "automated": {"prune": True, "selfHeal": True},
                "syncOptions": ["CreateNamespace=true"],
            },
        },
    }
    return json.dumps(wanted)


def web(text: str) -> dict[str, str]:
    """A Deployment whose command says ``text``."""
    container = {"name": "web", "image": IMAGE, "command": ["sh", "-c", f"sleep 86400; : {text}"]}
    labels = {"app": "web"}
    pod = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    wanted = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    return {"web/web.yaml": json.dumps(wanted)}


@pytest.fixture(scope="module")
def argocd(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, report: Callable[[str], None]
) -> Iterator[ArgoCd]:
    """Argo CD alone, taken off in the end."""
    with argo_cd(lab, tmp_path_factory.mktemp("argocd"), NAMESPACE, report) as running:
        yield running


@pytest.fixture(scope="module")
def single(argocd: ArgoCd) -> set[str]:
    """The objects of the single one."""
    return objects(argocd.lab)


@pytest.fixture(scope="module")
def available(argocd: ArgoCd, single: set[str], tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab with Argo CD as it is to be highly available, once the single one is known."""
    assert "deployment.apps/argocd-redis" in single

    def highly(site: dict[str, Any]) -> None:
        site["argocd"]["high_availability"] = True

    site = argocd.lab.changed(tmp_path_factory.mktemp("available"), highly)
    data = yaml.safe_load(site.site_file.read_text())
    assert data["argocd"]["high_availability"]
    return site


def objects(lab: Lab) -> set[str]:
    """Names of the objects in Argo CD's namespace."""
    return set(lab.kubectl("-n", "argocd", "get", KINDS, "-o", "name").split())


def machines_of(lab: Lab, name: str) -> list[str]:
    """The machines on which a component's ready pods are."""
    text = lab.kubectl("-n", "argocd", "get", "pods", "-l", f"{NAMED}={name}", "-o", "json")
    return [
        pod["spec"]["nodeName"]
        for pod in json.loads(text)["items"]
        if "deletionTimestamp" not in pod["metadata"]
        and any(
            one["type"] == "Ready" and one["status"] == "True"
            for one in pod["status"].get("conditions", ())
        )
    ]


def redis(lab: Lab, pod: str, command: str) -> str:
    """What Redis in ``pod`` answers; its password stays inside."""
    ask = f'REDISCLI_AUTH="$AUTH" redis-cli {command}'
    return lab.kubectl("-n", "argocd", "exec", pod, "-c", "redis", "--", "sh", "-c", ask)


def master(lab: Lab) -> tuple[str, str]:
    """The pod of Redis's master, and its machine."""
    selected = ("-l", f"{NAMED}=argocd-redis-ha")
    text = lab.kubectl("-n", "argocd", "get", "pods", *selected, "-o", "json")
    pods = {one["metadata"]["name"]: one["spec"]["nodeName"] for one in json.loads(text)["items"]}
    (pod,) = [pod for pod in pods if redis(lab, pod, "role").startswith("master")]
    return pod, pods[pod]


def reasons(lab: Lab) -> list[str]:
    """What the plan says of Argo CD, on whichever machine."""
    planned = json.loads(lab.provision("plan", "--json", "--only", "argocd", expect=2))
    found = planned["phases"]["argocd"]["reasons"]
    return [reason for said in found.values() for reason in said]


def test_it_becomes_highly_available_and_nothing_of_the_single_one_stays(
    argocd: ArgoCd, available: Lab, report: Callable[[str], None]
) -> None:
    argocd.git.commit(web("first"), "Begin")
    argocd.lab.kubectl("apply", "-f", "-", stdin=application(argocd.git.url))
    wait_until("the application", lambda: "first" in argocd.text(), seconds=120)
    planned = reasons(available)
    assert "object Deployment argocd/argocd-redis is wanted no more" in planned
    assert "object StatefulSet argocd/argocd-redis-ha-server is missing" in planned
    started = time.monotonic()
    available.provision("up", "--no-verify")
    report(f"argocd is highly available after {time.monotonic() - started:.0f} s")
    available.provision("plan", expect=0)
    found = objects(available)
    assert "deployment.apps/argocd-redis" not in found
    assert "statefulset.apps/argocd-application-controller" not in found
    for name in SPREAD:
        where = machines_of(available, name)
        assert len(where) == len(set(where)) >= 2, (name, where)
    for name in ONCE:
        assert len(machines_of(available, name)) == 1, name
    assert "first" in argocd.text(), "what it had installed goes on"
    argocd.git.commit(web("second"), "Say something else")
    took = wait_until("the commit", lambda: "second" in argocd.text(), seconds=120)
    report(f"highly available: a commit is applied {took:.1f} s after its push")


def test_the_machine_of_redis_master_is_lost(
    argocd: ArgoCd, available: Lab, report: Callable[[str], None]
) -> None:
    pod, name = master(available)
    (controller,) = machines_of(available, ONCE[0])
    victim = available.machines[name]
    left = [other for other in available.machines if other != name]
    # The lab asks the first that is there.
    available.control_plane.sort(key=name.__eq__)
    argocd.lab.control_plane.sort(key=name.__eq__)
    victim.kill()
    argocd.git.commit(web("third"), "Say it without a machine")
    took = wait_until("the commit", lambda: "third" in argocd.text(), seconds=300)
    with_it = "with" if controller == name else "without"
    report(
        f"a commit is applied {took:.1f} s after the machine of Redis's master was lost,"
        f" {with_it} the controller, looking every {LOOKS} s"
    )
    wait_until("another master", lambda: _leads_elsewhere(available, pod), seconds=120)
    with argocd.session() as session:
        wait_until("its address", lambda: argocd.answers(session), seconds=120)
        own = available.state / "secrets" / "argocd" / "admin-password"
        assert argocd.log_in(session, own.read_text()) == 200
    # Until the cluster misses the machine it takes what was there for ready.
    wait_until(
        "what moves", lambda: all(_only_on(available, once, left) for once in ONCE), seconds=240
    )

    victim.start()
    took = wait_until("health", lambda: available.provision("status"), seconds=300)
    report(f"status says healthy {took:.1f} s after the machine was switched on")
    wait_until(
        "three of Redis", lambda: len(machines_of(available, "argocd-redis-ha")) == 3, seconds=300
    )
    available.provision("plan", expect=0)
    argocd.git.commit(web("fourth"), "Say it with all machines")
    wait_until("the commit", lambda: "fourth" in argocd.text(), seconds=120)


def _only_on(lab: Lab, name: str, machines: list[str]) -> bool:
    """Whether a component is ready on some of ``machines`` and on no other."""
    where = machines_of(lab, name)
    return bool(where) and set(where) <= set(machines)


def _leads_elsewhere(lab: Lab, lost: str) -> bool:
    """Whether the two pods that are left have a master."""
    pods = [f"argocd-redis-ha-server-{number}" for number in range(3)]
    return any(redis(lab, pod, "role").startswith("master") for pod in pods if pod != lost)


def test_single_again_it_leaves_nothing_behind(
    argocd: ArgoCd, available: Lab, single: set[str]
) -> None:
    lab = argocd.lab
    planned = reasons(lab)
    assert "object StatefulSet argocd/argocd-redis-ha-server is wanted no more" in planned
    assert "object PodDisruptionBudget argocd/argocd-server is wanted no more" in planned
    lab.provision("up", "--no-verify")
    lab.provision("plan", expect=0)
    assert objects(available) == single
    parameters = lab.kubectl(
        "-n", "argocd", "get", "configmap", "argocd-cmd-params-cm", "-o", "yaml"
    )
    assert "argocd-redis-ha" not in parameters
    wanted = {"sync": "Synced", "health": "Healthy"}
    wait_until("the application", lambda: argocd.application("web") == wanted, seconds=120)
    argocd.git.commit(web("fifth"), "Say it alone")
    wait_until("the commit", lambda: "fifth" in argocd.text(), seconds=120)
