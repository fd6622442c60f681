"""Argo CD in the lab, as an administrator adds it to the site file, with a Git server beside it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.lab.gitserver import GitServer, git_server
from tests.lab.machines import Lab

PASSWORD = "of-the-git-server"
LOOKS = 10
"""Seconds between two looks at the repository."""


@dataclass(frozen=True)
class ArgoCd:
    """The lab with Argo CD, and the repository that it is to follow."""

    lab: Lab
    git: GitServer
    host: str
    address: str
    namespace: str
    """Where the repository's application ``web`` goes."""

    @contextmanager
    def session(self) -> Iterator[requests.Session]:
        """Visits at its address by its name, with the trust that a user of the site has."""
        with requests.Session() as session:
            session.trust_env = False
            session.verify = str(self.lab.state / "secrets" / "site-ca.crt")
            yield session

    def url(self, path: str) -> str:
        """Its certificate is for the address too, which spares a name server on this machine."""
        return f"https://{self.address}{path}"

    def answers(self, session: requests.Session) -> bool:
        """Whether the server says that it is well."""
        try:
            return session.get(self.url("/healthz"), timeout=5).ok
        except requests.RequestException as error:
            raise AssertionError(str(error)) from error

    def log_in(self, session: requests.Session, password: str) -> int:
        """Log in as ``admin``; the status of the answer."""
        body = {"username": "admin", "password": password}
        answer = session.post(self.url("/api/v1/session"), json=body, timeout=10)
        if answer.ok:
            session.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        return answer.status_code

    def text(self) -> str:
        """What the deployed web server is told to say."""
        path = "jsonpath={.spec.template.spec.containers[0].command[2]}"
        return self.lab.kubectl("-n", self.namespace, "get", "deployment", "web", "-o", path)

    def serves(self, text: str) -> bool:
        """Whether a pod with ``text`` is ready, and no other is wanted."""
        path = "jsonpath={.status.updatedReplicas} {.status.readyReplicas} {.status.replicas}"
        ready = self.lab.kubectl("-n", self.namespace, "get", "deployment", "web", "-o", path)
        return text in self.text() and ready == "1 1 1"

    def application(self, name: str) -> dict[str, str]:
        """How an application stands."""
        text = self.lab.kubectl("-n", "argocd", "get", "application", name, "-o", "json")
        status = json.loads(text).get("status", {})
        return {part: status.get(part, {}).get("status", "") for part in ("sync", "health")}


@contextmanager
def argo_cd(
    lab: Lab, folder: Path, namespace: str, report: Callable[[str], None]
) -> Iterator[ArgoCd]:
    """Argo CD for as long as the block runs; ``namespace`` goes with it."""
    data = yaml.safe_load(lab.site_file.read_text())
    pool = ip_address(data["load_balancer"]["pools"]["public"]["addresses"][0].partition("-")[0])
    address = str(pool + 9)
    gateway = str(ip_network(data["network"]["machines"])[1])
    password = folder / "password"
    password.touch(0o600)
    password.write_text(PASSWORD)
    with git_server(folder, gateway, PASSWORD) as git:
        repository = {"url": git.url, "password": {"file": str(password)}, "ca": str(git.ca)}

        def with_argocd(site: dict[str, Any]) -> None:
            site["argocd"] = {
                "address": address,
                "reconciliation_seconds": LOOKS,
                "repositories": {"site": repository},
            }

        lab.provision("up", "--no-verify")
        changed = lab.changed(folder, with_argocd)
        started = time.monotonic()
        changed.provision("up", "--no-verify")
        report(f"argocd is up from the bundle after {time.monotonic() - started:.0f} s")
        yield ArgoCd(changed, git, f"argocd.{data['dns']['zone']}", address, namespace)
        lab.provision("up", "--no-verify", "--prune")
        assert "argocd" not in lab.kubectl("get", "namespaces", "-o", "name")
        lab.provision("plan", expect=0)
        lab.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=120s")
