"""Secrets inside Kubernetes objects: named, and filled in where they are sent."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from provision.errors import SecretsError
from provision.objectsecrets import (
    has_secrets,
    kept_in_vault,
    referred,
    stored,
    with_secrets,
)
from provision.privatefiles import write_private
from provision.secrets import SecretStore
from provision.site import SecretRef
from tests.support.fakes import make_site
from tests.support.vault import no_vault


def secret(**data: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": data}


def test_values_come_from_the_store_and_from_files(tmp_path: Path) -> None:
    write_private(tmp_path / "store/dns/key", b"of the store\n")
    write_private(tmp_path / "site/tsig", b"of a file\n")
    site = make_site()
    site.place(tmp_path / "site")
    manifest = secret(
        one=stored("dns/key"),
        other=referred(SecretRef(file=Path("tsig")), site),
        kept=referred(SecretRef(store="dns/key"), site),
        plain="cGxhaW4=",
    )
    assert has_secrets(manifest)
    filled = with_secrets(manifest, SecretStore(tmp_path / "store"), no_vault)
    assert {key: b64decode(value) for key, value in filled["data"].items()} == {
        "one": b"of the store",
        "other": b"of a file",
        "kept": b"of the store",
        "plain": b"plain",
    }
    assert has_secrets(manifest), "the manifest itself stays as it was"


def test_other_objects_are_left_alone(tmp_path: Path) -> None:
    settings = {**secret(store={"store": "x"}), "kind": "ConfigMap"}
    assert not has_secrets(settings)
    assert with_secrets(settings, SecretStore(tmp_path), no_vault) is settings


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tsig"
    path.write_text("x")
    path.chmod(0o644)
    with pytest.raises(SecretsError, match="can be read by others"):
        with_secrets(secret(key={"file": str(path)}), SecretStore(tmp_path), no_vault)
    with pytest.raises(SecretsError, match="cannot be read"):
        with_secrets(secret(key={"file": str(tmp_path / "none")}), SecretStore(tmp_path), no_vault)


def test_values_come_from_vault(tmp_path: Path) -> None:
    members = {"n1": "https://192.0.2.11:8200"}
    manifest = secret(one=kept_in_vault("secret/argocd/github", "client_secret", members))
    assert has_secrets(manifest)
    filled = with_secrets(
        manifest,
        SecretStore(tmp_path),
        lambda where, path, field: f"{where['n1']} {path} {field}".encode(),
    )
    read = b"https://192.0.2.11:8200 secret/argocd/github client_secret"
    assert b64decode(filled["data"]["one"]) == read
