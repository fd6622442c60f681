"""The reference platform in the lab: where it is, and who may sign in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.lab import vault
from tests.lab.machines import Lab

NUMBERED = "user{:04}"
"""People of the directory who all have one password, from 1."""


@dataclass(frozen=True)
class Platform:
    """The platform of a site that is up."""

    lab: Lab
    host: str
    address: str
    ca: Path
    """PEM file of the authority of its pages."""
    argocd: str
    """Argo CD's address."""

    @classmethod
    def of(cls, lab: Lab) -> Platform:
        """As the site file says."""
        site = yaml.safe_load(lab.site_file.read_text())
        values = site["platform"]["values"]
        ca = lab.state / "secrets" / "cert_manager" / "site-ca.crt"
        return cls(
            lab,
            values["host"],
            values["address"],
            ca,
            site["argocd"]["address"],
        )

    @property
    def url(self) -> str:
        """The first page, without a slash at its end."""
        return f"https://{self.host}"

    @property
    def site_ca(self) -> Path:
        """PEM file of the site's own authority, by which Argo CD is known."""
        return self.lab.state / "secrets" / "site-ca.crt"

    @property
    def notebooks(self) -> str:
        """Namespace of hub, proxy and people's notebooks."""
        return "notebooks"

    def password(self, of: str) -> str:
        """What somebody signs in with, from Vault: ``ada``, or ``numbered`` for all of those."""
        member = self.lab.control_plane[0]
        answer = vault.admin(self.lab, member).secrets.kv.v2.read_secret_version(
            "platform/directory", raise_on_deleted_version=True
        )
        return str(answer["data"]["data"][of])

    def people(self, count: int) -> list[tuple[str, str]]:
        """Names and passwords of the first numbered people."""
        password = self.password("numbered")
        return [(NUMBERED.format(number), password) for number in range(1, count + 1)]

    def machine_of(self, namespace: str, selector: str) -> str:
        """The machine of the one pod that ``selector`` (labels) names and that is to stay."""
        text = self.lab.kubectl("-n", namespace, "get", "pods", "-l", selector, "-o", "json")
        (pod,) = [
            pod for pod in json.loads(text)["items"] if "deletionTimestamp" not in pod["metadata"]
        ]
        return str(pod["spec"].get("nodeName", ""))

    def machine_of_notebook(self, user: str) -> str:
        """The machine on which somebody's notebook runs."""
        selector = f"app.kubernetes.io/component=singleuser-server,hub.jupyter.org/username={user}"
        return self.machine_of(self.notebooks, selector)
