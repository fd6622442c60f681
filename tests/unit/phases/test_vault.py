"""Settings of ``vault`` that cannot work are told, one clear sentence each."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.app import read_site
from provision.errors import ConfigError
from provision.phases.vault import VaultPhase
from provision.vault.keys import Keys, KeySink
from provision.vault.pgp import public_key
from tests.support.cases import SITE, overlay
from tests.support.vault import FakeStore

ADA = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawS6uRYJKwYBBAHaRw8BAQdAG0CFVwDsT7a1clyr04w7rkbx+p3ZlnuCca8T
mKj2ZVa0D2FkYUBleGFtcGxlLm9yZ4iQBBMWCAA4FiEEK56ShwlKdInqfeii8vjr
sqohjlQFAmsEurkCGwMFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AACgkQ8vjrsqoh
jlR8vAEAhdTaGRy35xeJrZvrXM9X77zZdt0om/vhzCwK8kn19gcBAKuyanXAPVT+
DtyjCNAMfJVnkMN5J1mlmVq/2whTkvkK
=7STV
-----END PGP PUBLIC KEY BLOCK-----
"""
"""A public key of nobody."""


def problems(folder: Path, **settings: Any) -> str:
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(overlay(SITE, {"vault": settings})))
    with pytest.raises(ConfigError) as caught:
        read_site(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hosts": ["n1", "n2"]}, "names 2 machines; raft needs an odd number"),
        ({"hosts": ["n9"]}, "names n9, which is none of hosts"),
        ({"hosts": ["n1", "n1", "n2"]}, "names a machine twice"),
        ({"shares": 2, "threshold": 3}, "threshold 3 is above vault.shares 2"),
        ({"shares": 3, "threshold": 1}, "threshold 1 lets any one share unseal"),
        ({"policies": {"mine": "absent.hcl"}}, "absent.hcl is no file that can be read"),
        ({"max_lease_ttl": "10 years"}, "max_lease_ttl"),
        ({"approles": {"a": {"policies": []}}}, "approles.a.policies"),
        ({"address": "198.51.100.9"}, "vault.address 198.51.100.9 is outside network.machines"),
        ({"address": "192.0.2.1"}, "vault.address 192.0.2.1 is the address of hosts.n1"),
        ({"address": "192.0.2.100"}, "is the API's (api_endpoint.address); give it another"),
        (
            {"address": "192.0.2.101", "virtual_router_id": 100},
            "vault.virtual_router_id 100 is api_endpoint's; give another one",
        ),
        ({"approles": {"A": {"policies": ["p"]}}}, "approles"),
        (
            {"approles": {"a": {"policies": ["p"], "ttl": "2h", "max_ttl": "1h"}}},
            "ttl 2h must not be above max_ttl 1h",
        ),
        ({"pgp_keys": ["absent.asc"], "unseal": "manual"}, "absent.asc cannot be read"),
        ({"pgp_keys": ["site.yaml"], "unseal": "manual"}, "site.yaml is no public PGP key"),
        ({"pgp_keys": ["site.yaml"]}, "pgp_keys let no machine read the shares"),
    ],
)
def test_what_cannot_work_is_told(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    assert said in problems(tmp_path, **settings)


def test_a_key_is_read_armoured_and_binary(tmp_path: Path) -> None:
    armoured, binary = tmp_path / "ada.asc", tmp_path / "ada.gpg"
    armoured.write_text(ADA)
    taken_off = ["gpg", "--homedir", str(tmp_path), "--output", str(binary), "--dearmor"]
    subprocess.run([*taken_off, str(armoured)], check=True)
    assert public_key(armoured) == public_key(binary)
    assert base64.b64decode(public_key(binary)) == binary.read_bytes()


def test_a_reset_puts_the_keys_aside_and_the_next_vault_has_its_own() -> None:
    store = FakeStore()
    assert VaultPhase().taken_off(store) == ""
    KeySink(store).keep(Keys("a1", ("x", "y", "z"), 2))
    assert "kept as vault/keys-a1" in VaultPhase().taken_off(store)
    assert KeySink(store, "vault/keys-a1").read() == Keys("a1", ("x", "y", "z"), 2)
    begun = KeySink(store).read()
    assert begun is not None
    assert not begun.told
    assert VaultPhase().taken_off(store) == ""
