"""A secret of Argo CD's sign-on that people keep in the site's Vault, and change there."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from provision.errors import ExitCode
from tests.lab import leaks, vault
from tests.lab.argocd import ArgoCd, argo_cd
from tests.lab.machines import Lab
from tests.lab.processes import ProcessWatch

pytestmark = pytest.mark.platform

PATH = "argocd/github"
FIELD = "client_secret"
KEY = "dex.github.clientSecret"
FIRST, SECOND = "$the first, which is long enough", "the second, which is long enough"


@pytest.fixture(scope="module")
def argocd(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, report: Callable[[str], None]
) -> Iterator[ArgoCd]:
    """Argo CD alone, taken off in the end."""
    with argo_cd(lab, tmp_path_factory.mktemp("argocd"), "lab-sign-on", report) as running:
        yield running


@pytest.fixture(scope="module")
def signing_on(argocd: ArgoCd, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab with sign-on by GitHub, whose secret is in Vault."""

    def with_github(site: dict[str, Any]) -> None:
        site["argocd"]["github"] = {
            "client_id": "the-labs",
            "client_secret": {"vault": f"secret/{PATH}", "field": FIELD},
            "organizations": [{"name": "observatory"}],
        }

    return argocd.lab.changed(tmp_path_factory.mktemp("sign-on"), with_github)


def put(lab: Lab, secret: str) -> None:
    """What an administrator does with ``vault kv put``."""
    api = vault.admin(lab, lab.control_plane[0])
    api.secrets.kv.v2.create_or_update_secret(PATH, secret={FIELD: secret})


def has(lab: Lab) -> str:
    """What Argo CD has for it."""
    text = lab.kubectl("-n", "argocd", "get", "secret", "argocd-secret", "-o", "json")
    return b64decode(json.loads(text)["data"].get(KEY, "")).decode()


def test_what_nobody_put_there_is_told_with_what_to_run(signing_on: Lab) -> None:
    planned = signing_on.provision("plan", expect=ExitCode.CHANGES)
    assert f"Vault has no {FIELD} at secret/{PATH}" in planned
    printed = signing_on.provision("up", "--no-verify", expect=ExitCode.FAILED)
    assert f"vault kv put secret/{PATH} {FIELD}=-; then: provision up" in printed


def test_it_is_read_from_vault_and_followed_there(signing_on: Lab, watch: ProcessWatch) -> None:
    put(signing_on, FIRST)
    signing_on.provision("up", "--no-verify")
    assert has(signing_on) == FIRST
    signing_on.provision("plan", expect=0)
    put(signing_on, SECOND)
    planned = signing_on.provision("plan", expect=ExitCode.CHANGES)
    assert f"data.{KEY}" in planned
    signing_on.provision("up", "--no-verify")
    assert has(signing_on) == SECOND
    told = leaks.needles({"first": FIRST.encode(), "second": SECOND.encode()})
    assert leaks.told(told, planned, "plan") == []
    assert leaks.leaks(signing_on, told, watch) == []
    for name in signing_on.machines:
        assert leaks.readable_by_anyone(signing_on, name, told) == []


def test_it_goes_with_the_setting(argocd: ArgoCd, signing_on: Lab) -> None:
    argocd.lab.provision("up", "--no-verify")
    argocd.lab.provision("plan", expect=0)
    assert has(signing_on) == ""
    left = argocd.lab.kubectl("-n", "argocd", "get", "deployment,service", "-o", "name")
    assert "dex" not in left
