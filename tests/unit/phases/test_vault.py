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

mDMEawUACRYJKwYBBAHaRw8BAQdAIJl947TYUNHG52aixoapoM6HZ+UU0IRYYBL2
nE3huZ+0FUFkYSA8YWRhQGV4YW1wbGUub3JnPoiQBBMWCAA4FiEEEocvP7Ct+k3n
7DlDm7+o1dYSk/UFAmsFAAkCGwMFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AACgkQ
m7+o1dYSk/Ub2QD+Lw9v5k54FGNG/0pU6t5+JW2kTomIg3xqYsWiKtXARRcA/0t1
oficcEEd8cTfjTVdgiZB/37TFwhR72cHprcLvPkLuDgEawUACRIKKwYBBAGXVQEF
AQEHQNe1A3h301gDfiJRvpGjwwunO6RAxgbKpgmcQJayUzo3AwEIB4h4BBgWCAAg
FiEEEocvP7Ct+k3n7DlDm7+o1dYSk/UFAmsFAAkCGwwACgkQm7+o1dYSk/Wq/gEA
tiAkpwYNPkQmCsemw7AlH+Q2cjNX9QaWNYAAEr3rtbIA/A1AxZeACtiNBTGJJsXy
5XlxW24L6QQzsJZbCCx2R6oM
=LNJ7
-----END PGP PUBLIC KEY BLOCK-----
"""
"""A public key of nobody."""


TRANSIT: dict[str, Any] = {
    "address": "https://192.0.2.50:8200",
    "key": "site",
    "token": {"file": "token"},
}


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
        ({"unseal": "transit"}, "vault.unseal transit needs vault.transit"),
        ({"transit": TRANSIT}, "vault.unseal is systemd-creds; write unseal: transit, or"),
        (
            {"unseal": "transit", "transit": {**TRANSIT, "address": "http://192.0.2.50:8200"}},
            "vault.transit.address http://192.0.2.50:8200 is not encrypted",
        ),
        (
            {"unseal": "transit", "transit": {**TRANSIT, "address": "https://192.0.2.2:8200"}},
            "is the site's own Vault, which could never unseal itself",
        ),
        (
            {"unseal": "transit", "transit": {**TRANSIT, "address": "192.0.2.50"}},
            "vault.transit.address",
        ),
        (
            {"unseal": "transit", "transit": {**TRANSIT, "ca": "site.yaml"}},
            "vault.transit.ca site.yaml holds no certificate in PEM form",
        ),
        (
            {"unseal": "transit", "transit": {**TRANSIT, "ca": "absent.pem"}},
            "vault.transit.ca absent.pem cannot be read: No such file or directory",
        ),
        (
            {"unseal": "transit", "transit": {**TRANSIT, "token": {"prompt": True}}},
            "vault.transit.token cannot be asked for",
        ),
        ({"unseal": "transit", "transit": {"key": "k"}}, "vault.transit"),
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


@pytest.mark.parametrize("length", [b"\x06", b"\xff\x00\x00\x00\x06"])
def test_a_key_that_only_signs_is_refused(tmp_path: Path, length: bytes) -> None:
    made = b"\x04" + bytes(4)
    signs, encrypts = made + b"\x16", made + b"\x12"
    key = tmp_path / "key.gpg"
    key.write_bytes(b"\xc6" + length + signs + b"\xb4\x03abc" + b"\xb8\x06" + encrypts)
    assert public_key(key)
    key.write_bytes(b"\xc6" + length + signs + b"\xb4\x03abc")
    with pytest.raises(ValueError, match="only signs"):
        public_key(key)


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
