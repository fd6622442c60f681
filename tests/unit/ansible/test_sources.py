from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from provision.ansible.sources import Sources
from provision.errors import BundleError, ConfigError, SecretsError
from provision.secrets import SecretStore
from provision.secretspec import Random
from provision.state import File
from tests.support.bundles import small_bundle

DEPOTS = ["https://192.0.2.1:5000", "https://192.0.2.2:5000", "https://192.0.2.3:5000"]
BLOB = File("/usr/local/bin/demo", "0755", "root", "root", "b" * 64, "blob", name="demo")
SECRET = File("/etc/demo/key", "0600", "root", "root", None, "secret", name="demo/key")


def test_every_machine_finds_every_depot_and_they_begin_at_different_ones() -> None:
    lists = []
    for number in range(20):
        urls = Sources({"provision_depots": DEPOTS}, f"n{number}").contents(BLOB)["urls"]
        assert sorted(url.split("/v2/")[0] for url in urls) == DEPOTS
        assert all(url.endswith(f"/blobs/sha256:{BLOB.sha256}") for url in urls)
        lists.append(urls)
    assert len({urls[0] for urls in lists}) == 3


def test_a_secret_comes_from_the_store_with_its_digest(tmp_path: Path) -> None:
    specs = (Random("demo/key"),)
    store = SecretStore(tmp_path / "secrets", specs=specs, site="unit")
    store.ensure(specs)
    sources = Sources({"provision_secrets_path": str(store.path)}, "n1")
    value = store.read("demo/key")
    assert sources.secret("demo/key") == hashlib.sha256(value).hexdigest()
    assert base64.b64decode(sources.contents(SECRET)["content"]) == value


def test_a_secret_that_was_not_made_can_be_removed_and_not_written(tmp_path: Path) -> None:
    sources = Sources({"provision_secrets_path": str(tmp_path)}, "n1")
    assert sources.secret("demo/key") is None
    with pytest.raises(SecretsError):
        sources.contents(SECRET)


def test_the_release_of_the_machine_chooses_the_packages(tmp_path: Path) -> None:
    small = small_bundle(tmp_path, packages={"12": ("chrony",)})
    variables = {
        "provision_os_packages": "bundle",
        "provision_architecture": "amd64",
        "provision_bundle_path": str(small.folder),
        "provision_bundle_trusted_keys": [str(small.folder / "bundle.pub")],
    }
    sources = Sources(variables, "n1")
    assert sources.has_packages
    assert sources.package_index('ID=debian\nVERSION_ID="12"\n') == "the index of 12"
    with pytest.raises(BundleError, match="the bundle has no such file"):
        sources.package_index("ID=debian\nVERSION_ID=13\n")
    assert not Sources({"provision_os_packages": "mirror"}, "n1").has_packages
    assert not Sources({}, "n1").has_packages


def test_another_inventory_is_told_what_it_lacks() -> None:
    with pytest.raises(ConfigError, match="the inventory gives n1 no variable provision_depots"):
        Sources({}, "n1").contents(BLOB)
