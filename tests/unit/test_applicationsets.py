"""ApplicationSets: what the simple ones make, and which are left alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.checkout.applicationsets import NotRenderedError, applications
from provision.checkout.judge import Checkout
from provision.checks import Finding, Severity
from provision.phases.platform import PlatformSettings

URL = "https://git.site.test/site.git"
FOLDERS = ("apps", "apps/One_Page", "apps/two", "apps/two/deep", "other")


def application_set(generator: Mapping[str, Any], name: str, **spec: Any) -> dict[str, Any]:
    """A set of applications of the folder that is called as they are."""
    template = {
        "metadata": {"name": name, "namespace": "elsewhere", "labels": {name: "true"}},
        "spec": {
            "project": "platform",
            "source": {"repoURL": URL, "path": f"apps/{name}"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "web"},
            "syncPolicy": {"retry": {"limit": 2}, "syncOptions": [f"{name}=true"]},
        },
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "ApplicationSet",
        "metadata": {"name": "all", "namespace": "argocd"},
        "spec": {"generators": [generator], "template": template, **spec},
    }


def names(item: Mapping[str, Any]) -> list[str]:
    return [one["metadata"]["name"] for one in applications(item, URL, down_to)]


def down_to(levels: int) -> Sequence[str]:
    return [one for one in FOLDERS if one.count("/") < levels]


def listed(*elements: Mapping[str, Any]) -> dict[str, Any]:
    return {"list": {"elements": list(elements)}}


def folders(*paths: str, without: Sequence[str] = (), **given: Any) -> dict[str, Any]:
    wanted = [{"path": one} for one in paths] + [{"path": one, "exclude": True} for one in without]
    return {"git": {"repoURL": URL, "revision": "HEAD", "directories": wanted, **given}}


def test_everything_of_the_template_is_filled_in() -> None:
    (made,) = applications(application_set(listed({"name": "one"}), "{{ name }}"), URL, down_to)
    assert made == {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "one", "namespace": "argocd", "labels": {"one": "true"}},
        "spec": {
            "project": "platform",
            "source": {"repoURL": URL, "path": "apps/one"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "web"},
            "syncPolicy": {"retry": {"limit": 2}, "syncOptions": ["one=true"]},
        },
    }


@pytest.mark.parametrize(
    ("generator", "name", "go", "made"),
    [
        (listed({"a": "x"}, {"a": "y"}), "{{a}}", False, ["x", "y"]),
        (listed({"values": {"a": "x"}}), "{{values.a}}", False, ["x"]),
        (listed({"a": {"b": "x", "c": 1}}), "{{ .a.b }}{{.a.c}}", True, ["x1"]),
        (listed({"a": True}), "a-{{.a}}", True, ["a-true"]),
        (listed(), "{{a}}", False, []),
        (folders("apps/*"), "{{path}}", False, ["apps/One_Page", "apps/two"]),
        (folders("apps/*"), "{{path.basename}}", False, ["One_Page", "two"]),
        (folders("apps/*"), "{{path.basenameNormalized}}", False, ["one-page", "two"]),
        (folders("*"), "{{path[0]}}", False, ["apps", "other"]),
        (folders("apps/t?o", "[^a]*"), "{{path}}", False, ["apps/two", "other"]),
        (folders("apps/*", without=["*/two"]), "{{.path.basename}}", True, ["One_Page"]),
        (folders("*/*/*"), "{{index .path.segments 2}}", True, ["deep"]),
        (folders("*", requeueAfterSeconds=60), "{{.path.path}}", True, ["apps", "other"]),
        (folders(), "{{path}}", False, []),
    ],
)
def test_what_lists_and_folders_make(
    generator: dict[str, Any], name: str, made: list[str], *, go: bool
) -> None:
    assert names(application_set(generator, name, goTemplate=go)) == made


@pytest.mark.parametrize(
    ("generator", "name", "spec", "why"),
    [
        ({"clusters": {}}, "a", {}, "the generator clusters"),
        ({}, "a", {}, "the generator nothing"),
        ({1: {}}, "a", {}, "the generator 1"),
        ({"list": {1: "x", "q": "y"}}, "a", {}, "list.1"),
        ({**listed({"a": "b"}), "selector": {}}, "a", {}, "the generator list, selector"),
        ({"list": {"elementsYaml": "- a"}}, "a", {}, "list.elementsYaml"),
        (folders("*", values={"a": "b"}), "a", {}, "git.values"),
        (folders("*", repoURL="https://x.test"), "a", {}, "folders of https://x.test"),
        (listed({"a": "b"}), "{{b}}", {}, "{{b}}"),
        (listed({"a": 1}), "{{a}}", {}, "{{a}}"),
        (listed({"a": "b"}), "{{.b.c}}", {"goTemplate": True}, "{{.b.c}}"),
        (listed({"a": "b"}), "{{.a | upper}}", {"goTemplate": True}, "{{.a | upper}}"),
        (listed({"a": []}), "{{index .a 1}}", {"goTemplate": True}, "{{index .a 1}}"),
        (listed({"a": "b"}), "{{a}}", {"templatePatch": "x"}, "templatePatch"),
    ],
)
def test_what_is_not_simple_is_left_alone(
    generator: dict[str, Any], name: str, spec: dict[str, Any], why: str
) -> None:
    with pytest.raises(NotRenderedError) as caught:
        names(application_set(generator, name, **spec))
    assert str(caught.value) == why


def judged(root: Path, item: Mapping[str, Any]) -> list[Finding]:
    for folder in ("platform", "apps/one", "apps/.two", "apps/three"):
        (root / folder).mkdir(parents=True)
    (root / "apps/linked").symlink_to("one")
    (root / "apps/one/text.yaml").write_text("text")
    (root / "platform/all.yaml").write_text(yaml.safe_dump(dict(item)))
    return Checkout(root, PlatformSettings(repository=URL), None, None).judge()


def test_applications_of_a_set_are_followed(tmp_path: Path) -> None:
    (finding,) = judged(tmp_path, application_set(folders("apps/*"), "{{path.basename}}"))
    assert finding.what.startswith("application one: apps/one/text.yaml holds something")


def test_applications_of_a_set_are_judged(tmp_path: Path) -> None:
    findings = judged(tmp_path, application_set(listed({"a": "one"}, {"a": ""}), "{{a}}"))
    assert [one.what for one in findings][:2] == [
        "application set all makes an application without a name",
        "application one: apps/one/text.yaml holds something that is no Kubernetes object",
    ]


def test_a_set_that_is_not_simple_is_a_warning(tmp_path: Path) -> None:
    (finding,) = judged(tmp_path, application_set({"merge": {}}, "{{a}}"))
    assert (finding.severity, finding.found) == (Severity.WARNING, "it takes the generator merge")
    assert finding.what == "application set all is not rendered here, nor what it makes"


def test_a_set_that_argo_cd_does_not_see(tmp_path: Path) -> None:
    item = application_set(listed(), "a")
    (finding,) = judged(tmp_path, {**item, "metadata": {"name": "all", "namespace": "web"}})
    assert finding.what == "application set all is in a namespace that Argo CD does not look into"
