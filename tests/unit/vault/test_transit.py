"""The key that another Vault keeps is tried before anything rests on it, and no token is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.ansible.plugins.module_utils.vault.machine import WorkError, seal
from provision.ansible.plugins.module_utils.vault.transit import Key, TransitError, prove
from provision.errors import SecretsError
from provision.vault.transit import digest, kept_file, key_differences, token_of
from tests.support.tls import server_context
from tests.support.transit import TransitServer
from tests.support.vault import FakeStore

CONFIGURATION = """\
listener "tcp" {
  address = "0.0.0.0:8200"
}
seal "transit" {
  address    = "https://192.0.2.50:8200"
  mount_path = "transit/"
  key_name   = "site"
}
"""
ARGUMENTS: dict[str, Any] = {
    "address": "https://192.0.2.50:8200",
    "namespace": "",
    "mount": "transit",
    "key": "site",
    "authority": "",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TransitServer]:
    context, _ = server_context(tmp_path)
    with TransitServer(context) as running:
        yield running


@pytest.fixture
def key(server: TransitServer, tmp_path: Path) -> Key:
    authority = (tmp_path / "company-ca.pem").read_text()
    return Key(server.url, server.namespace, server.mount, server.key, authority)


def test_a_key_that_can_be_used_is_proven(server: TransitServer, key: Key) -> None:
    prove(key, server.token)
    prove(replace(key, address=f"{key.address}/"), server.token)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"key": "absent"}, "refuses keys/transit/encrypt/absent: no handler for route"),
        ({"mount": "absent"}, "refuses absent/encrypt/site: no handler for route"),
        ({"namespace": "absent"}, "permission denied; its token must be allowed to update"),
        ({"namespace": ""}, "permission denied; its token must be allowed to update"),
        ({"authority": ""}, "does not answer: [SSL: CERTIFICATE_VERIFY_FAILED]"),
        ({"authority": "no certificate"}, "does not answer"),
        ({"address": "https://127.0.0.1:1"}, "does not answer: [Errno 111] Connection refused"),
    ],
)
def test_what_is_wrong_is_said(
    server: TransitServer, key: Key, other: dict[str, str], said: str
) -> None:
    with pytest.raises(TransitError) as caught:
        prove(replace(key, **other), server.token)
    assert said in str(caught.value)
    assert server.token not in str(caught.value)


def test_a_token_that_is_refused_is_not_shown(server: TransitServer, key: Key) -> None:
    with pytest.raises(TransitError, match="permission denied; its token must be") as caught:
        prove(key, "hvs.another")
    assert "hvs.another" not in str(caught.value)


def test_a_sealed_vault_is_no_matter_of_policies(server: TransitServer, key: Key) -> None:
    server.sealed = True
    with pytest.raises(TransitError, match=r"encrypt/site: Vault is sealed$"):
        prove(key, server.token)


def test_what_is_not_decrypted_is_said(server: TransitServer, key: Key) -> None:
    server.forgetful = True
    with pytest.raises(TransitError, match="does not decrypt what it has encrypted"):
        prove(key, server.token)


def test_a_token_is_kept_only_once_it_is_proven(
    server: TransitServer, key: Key, tmp_path: Path
) -> None:
    credential, proven = tmp_path / "transit.cred", tmp_path / "transit.sha256"
    with pytest.raises(WorkError, match="permission denied"):
        seal(key, "hvs.another", "d1", "transit-token", credential, prove=False, proven=proven)
    assert not credential.exists()
    assert not proven.exists()
    credential.write_text("encrypted")
    proven.write_text("d1\n")
    server.sealed = True
    assert not seal(key, server.token, "d1", "t", credential, prove=False, proven=proven)
    with pytest.raises(WorkError, match="Vault is sealed"):
        seal(key, server.token, "d1", "t", credential, prove=True, proven=proven)
    assert credential.read_text() == "encrypted"


def test_a_token_is_read_without_its_newline(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("hvs.one\n")
    path.chmod(0o600)
    assert token_of({"token": {"file": str(path)}}, FakeStore()) == "hvs.one"
    store = FakeStore()
    store.content["transit"] = b"hvs.two\n"
    assert token_of({"token": {"store": "transit"}}, store) == "hvs.two"
    path.chmod(0o644)
    with pytest.raises(SecretsError, match="can be read by others"):
        token_of({"token": {"file": str(path)}}, FakeStore())


def test_each_setting_and_the_token_make_another_digest() -> None:
    first = digest(ARGUMENTS, "hvs.one")
    others = [digest({**ARGUMENTS, name: "other"}, "hvs.one") for name in ARGUMENTS]
    assert len({first, digest(ARGUMENTS, "hvs.two"), *others}) == len(ARGUMENTS) + 2
    assert "hvs" not in first
    assert kept_file(first) != first


def test_another_key_is_told_from_another_address() -> None:
    assert not list(key_differences(CONFIGURATION, ARGUMENTS))
    assert not list(key_differences(CONFIGURATION, {**ARGUMENTS, "address": "https://x"}))
    assert list(key_differences(CONFIGURATION, {**ARGUMENTS, "key": "k", "namespace": "n"})) == [
        "namespace is none, wanted n",
        "key is site, wanted k",
    ]
    assert not list(key_differences("ui = false\n", {**ARGUMENTS, "key": "k"}))
