"""The services site handed over to Phalanx's installer."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from provision.errors import ExitCode
from provision.phalanx.names import AUTHORITY, OPERATOR

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.machines import Lab

pytestmark = pytest.mark.services

OUTSIDE = "data.lab.test outside"
"""The controller does not ask the lab's name servers."""
UNFILLED = "static secrets"
PRIVATE = "who signs for letsencrypt-dns"
"""The lab's own authority, which stock containers do not trust."""


def _for_phalanx(site: dict[str, Any]) -> None:
    site["phalanx"] = {
        "environment": "lab",
        "host": "data.lab.test",
        "ingress_address": "10.199.50.200",
        "sign_on": {"kind": "github", "client_id": "of-the-lab"},
    }
    site["machine"] = {**site.get("machine", {}), "packages": ["nfs-common"]}
    # The charts' name, with an authority that answers without the internet.
    site["cert_manager"] = {"issuers": {"site-ca": {"ca": {}}, "letsencrypt-dns": {"ca": {}}}}


def _handed(site: Lab, place: Path) -> tuple[str, set[str]]:
    """What became of Vault's credentials, and what is bad."""
    printed = site.provision("handoff", "phalanx", "--output", str(place), "--json", expect=None)
    told = json.loads(printed[printed.index("{") :])
    return told["credentials"], {row["what"] for row in told["rows"] if not row["good"]}


def test_the_site_is_handed_over_and_handed_over_again(lab: Lab, tmp_path: Path) -> None:
    site = lab.changed(tmp_path, _for_phalanx)
    place = tmp_path / "handed"
    site.provision("up", "--no-verify")
    try:
        assert _handed(site, place) == ("made", {OUTSIDE, PRIVATE, UNFILLED})
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert {stat.S_IMODE(item.stat().st_mode) for item in place.iterdir()} == {0o600}

        static = yaml.safe_load((place / "static.yaml").read_text())
        secret = static["applications"]["gafaelfawr"]["github-client-secret"]
        assert secret["value"] == "REPLACE ME"
        secret["value"] = "of-the-lab"
        (place / "static.yaml").write_text(yaml.safe_dump(static))
        before = (place / "environment").read_bytes()
        assert _handed(site, place) == ("kept", {OUTSIDE, PRIVATE})
        assert (place / "environment").read_bytes() == before
        assert yaml.safe_load((place / "static.yaml").read_text()) == static

        elsewhere = ("handoff", "phalanx", "--output", str(tmp_path / "other"))
        refused = site.provision(*elsewhere, expect=ExitCode.USAGE)
        assert "nothing was changed" in refused
        assert not (tmp_path / "other").exists()
        assert _handed(site, place) == ("kept", {OUTSIDE, PRIVATE})
        authority = "jsonpath={.data.ca\\.crt}"
        given = lab.kubectl("-n", OPERATOR, "get", "configmap", AUTHORITY, "-o", authority)
        assert given == (lab.state / "secrets" / "site-ca.crt").read_text()
        site.provision("plan", expect=0)
    finally:
        lab.kubectl("delete", "namespace", OPERATOR, "--ignore-not-found")
        lab.provision("up", "--no-verify", "--prune")
