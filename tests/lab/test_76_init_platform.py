"""The repository that ``init --platform`` writes: judged by ``check``, followed by Argo CD."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.errors import ExitCode
from tests.lab.argocd import ArgoCd, argo_cd
from tests.lab.machines import ROOT, Lab
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.platform

NAMESPACE = "web"
"""Where the written application goes."""
PAGE = f"/api/v1/namespaces/{NAMESPACE}/services/web:http/proxy/"


@pytest.fixture(scope="module")
def argocd(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, report: Callable[[str], None]
) -> Iterator[ArgoCd]:
    """Argo CD that may read the Git server, taken off in the end."""
    with argo_cd(lab, tmp_path_factory.mktemp("argocd"), NAMESPACE, report) as running:
        yield running


@pytest.fixture(scope="module")
def site(argocd: ArgoCd, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The written repository; its site file is the lab's with the written ``platform``."""
    path = tmp_path_factory.mktemp("repository") / "site.yaml"
    version = yaml.safe_load(argocd.lab.site_file.read_text())["kubernetes"]["version"]
    command = ["init", "--platform", "--name", argocd.lab.name, "--kubernetes", version]
    command += ["--repository", argocd.git.url, "--output", str(path)]
    done = subprocess.run(
        [sys.executable, "-m", "provision", *command],
        cwd=ROOT,
        env=argocd.lab.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    platform = yaml.safe_load(path.read_text())["platform"]
    return argocd.lab.changed(path.parent, lambda data: data.update(platform=platform))


def committed(folder: Path) -> dict[str, str]:
    """Files of the repository that Argo CD reads."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for part in ("platform", "applications")
        for path in (folder / part).rglob("*")
        if path.is_file()
    }


def repository_of(site: Lab) -> str:
    """Where Argo CD reads the site's repository from."""
    platform = yaml.safe_load(site.site_file.read_text())["platform"]
    return str(platform["repository"])


def about_the_platform(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Findings about the repository, and about the bundle that it is rendered with."""
    words = ("application", "bundle", "kinds", "platform")
    return [item for item in findings if any(word in item["what"] for word in words)]


def test_check_renders_it_and_finds_nothing(site: Lab) -> None:
    findings = json.loads(site.provision("check", "--json", expect=None))
    assert about_the_platform(findings) == []


def with_files(site: Lab, folder: Path, files: Mapping[str, str]) -> Lab:
    """The site with more files in a copy of its repository."""
    shutil.copytree(site.site_file.parent, folder)
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return Lab(folder / "site.yaml", site.state_home, site.extra)


def test_check_names_a_broken_chart(site: Lab, tmp_path: Path) -> None:
    template = "applications/web/templates/broken.yaml"
    broken = with_files(site, tmp_path / "broken", {template: "{{ .Values.nothing.there }}\n"})
    printed = broken.provision("check", expect=ExitCode.FINDINGS)
    assert "application web: its chart does not render" in printed
    assert "web/templates/broken.yaml" in printed


def test_check_names_fields_that_kubernetes_and_argo_cd_do_not_have(
    site: Lab, tmp_path: Path
) -> None:
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "dat": {}}
    application = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "b"},
        "spec": {"projekt": "platform", "project": "default", "destination": {}},
    }
    template = "applications/web/templates/wrong.yaml"
    text = "---\n".join(map(yaml.safe_dump, (settings, application)))
    wrong = with_files(site, tmp_path / "wrong", {template: text})
    findings = json.loads(wrong.provision("check", "--json", expect=ExitCode.FINDINGS))
    found = {item["found"] for item in about_the_platform(findings)}
    place = "which is no field there (applications/web/templates/wrong.yaml)"
    assert {f"dat, {place}", f"spec.projekt, {place}"} <= found


@pytest.mark.parametrize(("field", "rendered"), [("name", True), ("nam", False)])
def test_check_renders_kustomizations_with_the_bundles_kustomize(
    site: Lab, tmp_path: Path, field: str, *, rendered: bool
) -> None:
    application = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "more", "namespace": "argocd"},
        "spec": {
            "project": "platform",
            "source": {"repoURL": repository_of(site), "path": "more"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "web"},
        },
    }
    files = {
        "platform/templates/more.yaml": yaml.safe_dump(application),
        "more/kustomization.yaml": f"configMapGenerator: [{{{field}: a, literals: [a=b]}}]\n",
    }
    more = with_files(site, tmp_path / "more", files)
    findings = json.loads(more.provision("check", "--json", expect=None))
    what = [item["what"] for item in about_the_platform(findings)]
    wrong = "application more: its kustomization does not render"
    assert what == ([] if rendered else [wrong])


def test_check_has_machines_ask_the_registries_of_other_images(site: Lab, tmp_path: Path) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "elsewhere"},
        "spec": {"containers": [{"name": "a", "image": "registry.lab.test/web:1"}]},
    }
    template = "applications/web/templates/elsewhere.yaml"
    elsewhere = with_files(site, tmp_path / "elsewhere", {template: yaml.safe_dump(pod)})
    findings = json.loads(elsewhere.provision("check", "--json", expect=None))
    unheard = [item for item in findings if item["what"].startswith("registries of images")]
    assert [item["host"] for item in unheard] == list(site.machines)
    assert all(item["found"].startswith("registry.lab.test: ") for item in unheard)


def test_argo_cd_brings_it_in_and_the_page_is_served(
    argocd: ArgoCd, site: Lab, report: Callable[[str], None]
) -> None:
    argocd.git.commit(committed(site.site_file.parent), "Begin")
    started = time.monotonic()
    site.provision("up", "--no-verify", "--only", "platform")
    took = time.monotonic() - started
    report(f"what init --platform writes is Synced and Healthy {took:.1f} s after `up` began")
    wanted = {"sync": "Synced", "health": "Healthy"}
    assert argocd.application("platform") == argocd.application("web") == wanted
    path = "jsonpath={.status.updatedReplicas} {.status.readyReplicas} {.status.replicas}"
    ready = site.kubectl("-n", NAMESPACE, "get", "deployment", "web", "-o", path)
    assert ready == "2 2 2"
    welcome = f"Welcome to {site.name}"
    wait_until("the page", lambda: site.kubectl("get", "--raw", PAGE) == welcome, seconds=30)
    site.provision("plan", "--only", "platform", expect=0)
