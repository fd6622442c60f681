"""Which applications are not as they should be, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from provision.argocd.applications import Resource, Standing, last_event, standings, summary, unfit
from provision.verbs.platform import PlatformStatus, render

WEB = Resource("Deployment", "web", "web")


def application(name: str, sync: str, health: str, **status: Any) -> dict[str, Any]:
    compared = {"status": sync, "revision": status.pop("revision", "")}
    found = {"sync": compared, "health": {"status": health}, **status}
    return {"metadata": {"name": name}, "status": found}


def said(*applications: dict[str, Any], exceptions: tuple[str, ...] = ()) -> list[str]:
    return [str(one) for one in unfit(standings(applications), exceptions)]


def test_those_that_are_well_are_not_named() -> None:
    assert said(application("a", "Synced", "Healthy")) == []


def test_exceptions_do_not_count() -> None:
    broken = application("b", "OutOfSync", "Missing"), application("a", "Synced", "Degraded")
    assert said(*broken, exceptions=("b",)) == ["application a is Synced and Degraded"]


def test_one_that_is_new_was_not_looked_at() -> None:
    assert said({"metadata": {"name": "new"}}) == [
        "application new is Unknown and Unknown: Argo CD has not looked at it yet"
    ]


def test_the_resource_that_is_not_healthy_is_named_before_one_that_differs() -> None:
    resources = [
        {"kind": "ConfigMap", "namespace": "web", "name": "page", "status": "OutOfSync"},
        {"kind": "Service", "namespace": "web", "name": "web", "status": "Synced"},
        {
            "kind": "Deployment",
            "namespace": "web",
            "name": "web",
            "status": "Synced",
            "health": {"status": "Degraded", "message": "exceeded its progress deadline"},
        },
    ]
    degraded = application("web", "OutOfSync", "Degraded", resources=resources)
    (found,) = unfit(standings([degraded]), ())
    assert found.resource == WEB
    assert str(found) == (
        "application web is OutOfSync and Degraded, Deployment web/web:"
        " exceeded its progress deadline"
    )
    (found,) = unfit(
        standings([application("web", "OutOfSync", "Healthy", resources=resources[:2])]), ()
    )
    assert str(found) == "application web is OutOfSync and Healthy, ConfigMap web/page"


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (
            {"conditions": [{"type": "ComparisonError", "message": "no such revision"}]},
            "no such revision",
        ),
        ({"conditions": [{"type": "OrphanedResourceWarning", "message": "x"}]}, ""),
        ({"operationState": {"phase": "Failed", "message": "one task failed"}}, "one task failed"),
        ({"operationState": {"phase": "Succeeded", "message": "all is done"}}, ""),
    ],
)
def test_what_argo_cd_says(status: dict[str, Any], why: str) -> None:
    (found,) = unfit(standings([application("a", "Unknown", "Healthy", **status)]), ())
    assert found.why == why


def test_a_resource_of_the_whole_cluster_has_no_namespace() -> None:
    assert str(Resource("Namespace", "", "web")) == "Namespace web"


def test_the_last_event_follows_what_argo_cd_says() -> None:
    found = Standing("web", "Synced", "Progressing", "", "waiting", WEB, "Failed: no such image")
    assert found.detail == "Deployment web/web: waiting (Failed: no such image)"
    assert replace(found, why="").detail == "Deployment web/web (Failed: no such image)"


MIXED = (
    application("web", "Synced", "Healthy"),
    application("old", "OutOfSync", "Healthy", revision="a" * 40),
    application("new", "Synced", "Progressing"),
)


def test_all_are_told_in_one_line() -> None:
    found = list(standings(MIXED))
    assert summary(found) == "3 applications: 1 OutOfSync, 2 Synced; 2 Healthy, 1 Progressing"
    assert summary([]) == "no applications"


def test_what_does_not_render_lies_between_the_commit_that_runs_and_the_branch() -> None:
    history = [{"revision": "a" * 40}, {"revision": "b" * 40}]
    (found,) = standings([application("web", "Unknown", "Healthy", revision="main")])
    assert found.short_revision == "main", "nothing was ever applied"
    (found,) = standings(
        [application("web", "Unknown", "Healthy", revision="main", history=history)]
    )
    assert found.short_revision == "bbbbbbbb..main"
    (found,) = standings(
        [application("web", "OutOfSync", "Healthy", revision="c" * 40, history=history)]
    )
    assert found.short_revision == "cccccccc"


def test_status_tells_each_and_excuses_the_exceptions() -> None:
    status = PlatformStatus(list(standings(MIXED)), {"new": "nobody needs it yet"})
    assert list(render(status)) == [
        "-    new  Synced     Progressing             (need not be: nobody needs it yet)",
        "BAD  old  OutOfSync  Healthy     aaaaaaaa",
        "ok   web  Synced     Healthy",
        "3 applications: 1 OutOfSync, 2 Synced; 2 Healthy, 1 Progressing",
    ]
    assert not status.healthy
    assert PlatformStatus(list(standings(MIXED)), {"new": "a", "old": "b"}).healthy
    assert not PlatformStatus([], {}).healthy


def event(name: str, message: str, moment: str, kind: str = "Normal") -> dict[str, Any]:
    return {
        "involvedObject": {"name": name},
        "type": kind,
        "reason": "Happened",
        "message": message,
        "lastTimestamp": moment,
    }


def test_the_last_warning_about_what_a_resource_made_is_told() -> None:
    events = [
        event("web-6d4f", "cannot pull", "2026-01-01T00:00:01Z", "Warning"),
        event("web-6d4f", "cannot pull again", "2026-01-01T00:00:02Z", "Warning"),
        event("web", "scaled", "2026-01-01T00:00:03Z"),
        event("website", "not this one", "2026-01-01T00:00:04Z", "Warning"),
    ]
    assert last_event(events, WEB) == "Happened: cannot pull again"
    assert last_event(events[2:], WEB) == "Happened: scaled"
    assert last_event(events[3:], WEB) == ""
