"""What ``platform diff`` says, from what Argo CD's API says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from provision.argocd.applications import Object
from provision.verbs.platformdiff import compare, render


def differing(*resources: tuple[str, str], sync: str = "OutOfSync", **status: Any) -> Object:
    """An application with Deployments, each OutOfSync or not."""
    listed = [
        {"group": "apps", "kind": "Deployment", "namespace": "web", "name": name, "status": state}
        for name, state in resources
    ]
    found = {"sync": {"status": sync, "revision": "0123456789" * 4}, "resources": listed, **status}
    return {"metadata": {"name": "web"}, "status": found}


def managed(name: str, live: int | None, wanted: int | None) -> Object:
    """A Deployment with numbers of replicas."""

    def state(replicas: int | None) -> str:
        metadata = {"name": name, "managedFields": [{"manager": "kubectl"}]}
        return json.dumps(replicas and {"metadata": metadata, "spec": {"replicas": replicas}})

    return {
        "group": "apps",
        "kind": "Deployment",
        "namespace": "web",
        "name": name,
        "normalizedLiveState": state(live),
        "predictedLiveState": state(wanted),
    }


class Argocd:
    """Says what it was given."""

    def __init__(self, application: Object, *managed: Object) -> None:
        self.found = application
        self.objects = managed

    def application(self, name: str, *, refresh: bool = False) -> Object:
        assert refresh, "the newest commit counts"
        return self.found

    def managed(self, name: str) -> Sequence[Object]:
        return self.objects


def told(application: Object, *objects: Object) -> list[str]:
    return list(render([compare(Argocd(application, *objects), "web")]))


def test_a_changed_object_is_shown_with_its_change_and_nothing_else() -> None:
    found = differing(("site", "OutOfSync"), ("other", "Synced"))
    assert told(found, managed("site", 2, 3), managed("other", 1, 4)) == [
        "web: Deployment web/site is changed",
        "--- cluster: Deployment web/site",
        "+++ repository: Deployment web/site",
        "@@ -1,4 +1,4 @@",
        " metadata:",
        "   name: site",
        " spec:",
        "-  replicas: 2",
        "+  replicas: 3",
        "",
        "web  01234567  1 object differs",
    ]


def test_what_is_missing_and_what_is_surplus() -> None:
    found = differing(("new", "OutOfSync"), ("old", "OutOfSync"))
    lines = told(found, managed("new", None, 1), managed("old", 1, None))
    assert "web: Deployment web/new is missing" in lines
    assert "+  replicas: 1" in lines
    assert "web: Deployment web/old is surplus" in lines
    assert "-  replicas: 1" in lines
    assert lines[-1] == "web  01234567  2 objects differ"


def test_one_that_is_synced_is_not_asked_for_its_objects() -> None:
    assert told(differing(("site", "Synced"), sync="Synced")) == [
        "web  01234567  as the repository says"
    ]


def test_one_that_cannot_be_compared_says_why() -> None:
    conditions = [{"type": "ComparisonError", "message": "chart.yaml: no such file"}]
    compared = compare(Argocd(differing(sync="Unknown", conditions=conditions)), "web")
    assert compared.failed
    assert list(render([compared])) == [
        "web  01234567  cannot be compared: chart.yaml: no such file"
    ]
    assert compared.as_dict()["failure"] == "chart.yaml: no such file"
