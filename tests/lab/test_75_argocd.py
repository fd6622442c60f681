"""Argo CD from the bundle, and a platform that follows a Git repository."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hvac
import pytest
import requests

from provision.adapters.onmachine.dns import ask
from provision.errors import ExitCode
from tests.lab.argocd import LOOKS, PASSWORD, ArgoCd, argo_cd
from tests.lab.machines import Lab
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.platform

IMAGE = "docker.io/library/busybox:1.35"
NAMESPACE = "lab-web"
APPLICATION = """
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{name: web, namespace: argocd}}
spec:
  project: platform
  source: {{repoURL: {url}, path: web, targetRevision: main}}
  destination: {{server: https://kubernetes.default.svc, namespace: lab-web}}
  syncPolicy:
    automated: {{prune: true, selfHeal: true}}
    syncOptions: [CreateNamespace=true]
"""
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  progressDeadlineSeconds: 15
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: {image}
          command: [sh, -c, 'mkdir /www; echo {text} > /www/index.html; httpd -f -p 8080 -h /www']
          readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
"""
NOTE = "{apiVersion: v1, kind: ConfigMap, metadata: {name: note}, data: {says: something}}"
BROKEN = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: [unfinished\n"
"""What does not look like a manifest at all would be passed over."""


def web(text: str, image: str = IMAGE) -> dict[str, str]:
    return {"web/web.yaml": WEB.format(text=text, image=image)}


@pytest.fixture(scope="module")
def argocd(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, report: Callable[[str], None]
) -> Iterator[ArgoCd]:
    """Argo CD as an administrator adds it to the site file, taken off in the end."""
    with argo_cd(lab, tmp_path_factory.mktemp("argocd"), NAMESPACE, report) as running:
        yield running


def with_platform(argocd: ArgoCd, folder: Path, **settings: Any) -> Lab:
    wanted = {"repository": argocd.git.url, "revision": "main", **settings}
    return argocd.lab.changed(folder, lambda site: site.update(platform=wanted))


def test_nothing_differs_once_it_is_up(argocd: ArgoCd) -> None:
    argocd.lab.provision("plan", expect=0)
    argocd.lab.provision("verify", "--only", "delivery")


def test_its_api_answers_to_who_trusts_the_site(argocd: ArgoCd) -> None:
    with argocd.session() as session:
        wait_until("an answer", lambda: argocd.answers(session), seconds=60)
        version = session.get(argocd.url("/api/version"), timeout=5).json()["Version"]
        assert version.startswith("v3.6.1")
        assert session.get(argocd.url("/api/v1/applications"), timeout=5).status_code == 401
        session.verify = True
        with pytest.raises(requests.exceptions.SSLError):
            session.get(argocd.url("/healthz"), timeout=5)
    server = argocd.lab.machines[argocd.lab.control_plane[0]]
    question = f"{server.address}:53 {argocd.host} A"
    assert list(ask([question])[question]["values"]) == [argocd.address]


def test_the_password_is_in_vault_and_in_no_record(argocd: ArgoCd) -> None:
    lab = argocd.lab
    vault = hvac.Client(
        f"https://{lab.machines[lab.control_plane[0]].address}:8200",
        verify=str(lab.state / "secrets" / "site-ca.crt"),
    )
    own = (lab.state / "secrets" / "vault" / "admin-password").read_text()
    vault.auth.userpass.login("admin", own)
    answer = vault.secrets.kv.v2.read_secret_version("argocd/admin", raise_on_deleted_version=True)
    fields = answer["data"]["data"]
    assert (fields["username"], fields["url"]) == ("admin", f"https://{argocd.host}")
    with argocd.session() as session:
        assert argocd.log_in(session, "guessed") == 401
        assert argocd.log_in(session, fields["password"]) == 200
        assert session.get(argocd.url("/api/v1/applications"), timeout=5).ok
    told = lab.provision("inventory") + lab.provision("plan", "--json", expect=None)
    told += "".join(path.read_text() for path in (lab.state / "runs").glob("*.jsonl"))
    told += lab.kubectl("-n", "argocd", "logs", "deployment/argocd-server")
    for secret in (fields["password"], PASSWORD):
        assert secret not in told


def test_a_changed_password_is_put_back(argocd: ArgoCd) -> None:
    lab = argocd.lab
    patch = json.dumps({"data": {"admin.password": b64encode(b"of nobody").decode()}})
    lab.kubectl("-n", "argocd", "patch", "secret", "argocd-secret", "--type=merge", "-p", patch)
    planned = json.loads(lab.provision("plan", "--json", expect=2))["phases"]
    changes = [name for name, item in planned.items() if item["decision"] == "run"]
    assert changes == ["argocd"]
    (reasons,) = planned["argocd"]["reasons"].values()
    assert reasons == ["object Secret argocd/argocd-secret differs in data.admin.password"]
    lab.provision("up", "--no-verify", "--only", "argocd")
    lab.provision("plan", "--only", "argocd", expect=0)


def test_a_repository_of_applications_is_brought_in(
    argocd: ArgoCd, tmp_path: Path, report: Callable[[str], None]
) -> None:
    application = {"platform/web.yaml": APPLICATION.format(url=argocd.git.url)}
    argocd.git.commit({**application, **web("first")}, "Begin")
    site = with_platform(argocd, tmp_path)
    started = time.monotonic()
    site.provision("up", "--no-verify", "--only", "platform")
    took = time.monotonic() - started
    report(f"an app of apps is Synced and Healthy {took:.1f} s after `up` began")
    wanted = {"sync": "Synced", "health": "Healthy"}
    assert argocd.application("platform") == argocd.application("web") == wanted
    stands = json.loads(site.provision("platform", "status", "--json"))
    assert stands["summary"] == "2 applications: 2 Synced; 2 Healthy"
    assert argocd.serves("first")
    site.provision("plan", "--only", "platform", expect=0)


def test_a_commit_is_seen(argocd: ArgoCd, report: Callable[[str], None]) -> None:
    argocd.git.commit(web("second"), "Say something else")
    took = wait_until("the commit", lambda: "second" in argocd.text(), seconds=120)
    report(f"a commit is applied {took:.1f} s after its push, looking every {LOOKS} s")
    assert took < 60
    wait_until("the new pod", lambda: argocd.serves("second"), seconds=60)


def test_a_push_that_is_told_of_is_seen_at_once(
    argocd: ArgoCd, report: Callable[[str], None]
) -> None:
    commit = argocd.git.commit(web("third"), "Say something else again")
    push: dict[str, Any] = {
        "ref": "refs/heads/main",
        "after": commit,
        "repository": {
            "html_url": argocd.git.url.removesuffix(".git"),
            "default_branch": "main",
        },
        "commits": [],
    }
    with argocd.session() as session:
        headers = {"X-GitHub-Event": "push"}
        answer = session.post(argocd.url("/api/webhook"), json=push, headers=headers, timeout=10)
        assert answer.ok, answer.text
    took = wait_until("the commit", lambda: "third" in argocd.text(), seconds=60)
    report(f"a commit is applied {took:.1f} s after the server told of its push")
    wait_until("the new pod", lambda: argocd.serves("third"), seconds=60)


def test_what_is_not_automatic_is_shown_and_synchronised_on_request(
    argocd: ArgoCd, tmp_path: Path, report: Callable[[str], None]
) -> None:
    automatic = APPLICATION.format(url=argocd.git.url)
    by_hand = automatic.replace("    automated: {prune: true, selfHeal: true}\n", "")
    assert by_hand != automatic
    site = with_platform(argocd, tmp_path)
    argocd.git.commit({"platform/web.yaml": by_hand}, "Synchronise by hand")
    printed = site.provision("platform", "sync")
    assert "ok   platform  Succeeded" in printed
    site.provision("platform", "diff", expect=0)

    argocd.git.commit(web("on-request"), "Wait for somebody")
    printed = site.provision("platform", "diff", "web", expect=ExitCode.CHANGES)
    assert f"web: Deployment {NAMESPACE}/web is changed" in printed
    changed = [line[0] for line in printed.splitlines() if "> /www/index.html" in line]
    assert changed == ["-", "+"]
    assert printed.splitlines()[-1].endswith("1 object differs")
    assert "on-request" not in argocd.text()
    assert "no application nosuch" in site.provision(
        "platform", "sync", "nosuch", expect=ExitCode.USAGE
    )
    started = time.monotonic()
    printed = site.provision("platform", "sync", "web")
    report(f"`platform sync` of one application took {time.monotonic() - started:.1f} s")
    assert printed.splitlines()[-1].startswith("ok   web  Succeeded")
    assert "on-request" in argocd.text()
    site.provision("platform", "diff", expect=0)

    argocd.git.commit({"platform/web.yaml": automatic, **web("third")}, "Synchronise by itself")
    site.provision("platform", "sync")
    wait_until("the new pod", lambda: argocd.serves("third"), seconds=60)


def test_a_change_by_hand_is_healed(argocd: ArgoCd, report: Callable[[str], None]) -> None:
    argocd.lab.kubectl("-n", NAMESPACE, "delete", "deployment", "web", "--wait=true")
    took = wait_until("the deployment", lambda: argocd.serves("third"), seconds=120)
    report(f"a deployment that was deleted by hand serves again after {took:.1f} s")


def test_a_bad_commit_is_named_and_what_ran_goes_on(
    argocd: ArgoCd, tmp_path: Path, report: Callable[[str], None]
) -> None:
    argocd.git.commit(web("fourth", image="registry.invalid/web:none"), "Break it")
    wait_until("the commit", lambda: "fourth" in argocd.text(), seconds=120)
    wait_until(
        "Argo CD to say so",
        lambda: argocd.application("web")["health"] == "Degraded",
        seconds=120,
    )
    site = with_platform(argocd, tmp_path, deadline_seconds=10)
    printed = site.provision("up", "--no-verify", "--only", "platform", expect=ExitCode.DEADLINE)
    report(next(line for line in printed.splitlines() if "application web is" in line).strip())
    assert "application web is Synced and Degraded, Deployment lab-web/web" in printed
    path = "jsonpath={.items[*].status.containerStatuses[*].ready}"
    pods = argocd.lab.kubectl("-n", NAMESPACE, "get", "pods", "-o", path)
    assert "true" in pods.split(), "the version before goes on"
    argocd.git.revert()
    wait_until("the version before", lambda: argocd.serves("third"), seconds=120)
    site.provision("up", "--no-verify", "--only", "platform")


def test_a_commit_that_does_not_render_is_named_and_what_ran_goes_on(
    argocd: ArgoCd, tmp_path: Path, report: Callable[[str], None]
) -> None:
    good = argocd.git.commit({"web/note.yaml": NOTE}, "Add a note")
    site = with_platform(argocd, tmp_path)
    site.provision("platform", "sync")
    argocd.git.commit({"web/note.yaml": BROKEN}, "Break the note")
    took = wait_until(
        "Argo CD to say so", lambda: argocd.application("web")["sync"] == "Unknown", seconds=120
    )
    report(f"a commit that does not render is told {took:.1f} s after its push")
    printed = site.provision("platform", "status", expect=ExitCode.UNHEALTHY)
    (line,) = [line for line in printed.splitlines() if line.startswith("BAD  web")]
    report(line)
    assert "note.yaml" in line
    assert f"{good[:8]}..main" in line, "between the last that rendered and the branch"
    assert argocd.serves("third")
    site.provision("platform", "diff", "web", expect=ExitCode.UNHEALTHY)
    argocd.git.revert()
    wait_until(
        "the commit before", lambda: argocd.application("web")["sync"] == "Synced", seconds=120
    )
    site.provision("platform", "status")
