"""What ``verify`` says of issuers: ready, and what they issue validates by their own authority."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from provision.phase import Context
from provision.pki import new_authority, new_certificate, new_key
from provision.proof import Login, NotProvenError, Object
from provision.proofs.certificates import CertificateProof
from provision.secretspec import Authority, Certificate
from provision.vault.api import VaultApi
from tests.support.cases import make_context, make_site

READY = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}


class Issuing:
    """Ground on which every issuer signs with ``chain``, and Vault publishes ``published``."""

    namespace = "proving"

    def __init__(self, context: Context, chain: str, published: str = "") -> None:
        self.site_context = context
        self.chain = chain
        self.published = published
        self.asked: list[str] = []
        self.held = {"one": {"tls.crt": published}, "one-vault": {"ca.crt": "trusted"}}

    def apply(self, *objects: Mapping[str, Any]) -> None:
        for item in objects:
            self.asked += item["spec"]["dnsNames"]

    def get(self, manifest: Mapping[str, Any]) -> Object:
        if manifest["kind"] != "Secret":
            return READY
        held = self.held.get(manifest["metadata"]["name"], {"tls.crt": self.chain})
        return {
            "data": {key: base64.b64encode(text.encode()).decode() for key, text in held.items()}
        }

    def fetch(self, url: str, trust: str = "") -> str:
        assert (url, trust) == ("https://192.0.2.1:8200/v1/pki/ca_chain", "trusted")
        return self.published

    def addresses(self, server: str, name: str) -> list[str]:
        raise NotImplementedError

    def until(self, what: str, look: Callable[[], str], seconds: float) -> None:
        assert look() == "", (what, seconds)

    def delete(self, manifest: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def all(self, api_version: str, kind: str) -> list[Object]:
        raise NotImplementedError

    def run(self, pod: str, script: str) -> str:
        raise NotImplementedError

    def ask(self, pod: str, port: int, login: Login, statement: str) -> list[list[Any]]:
        raise NotImplementedError

    def vault(self, urls: Iterable[str]) -> VaultApi:
        raise NotImplementedError

    def authority(self) -> str:
        raise NotImplementedError


def authority(name: str) -> tuple[str, str]:
    """A certificate and its key."""
    key = new_key()
    made = new_authority(Authority("x", name), key, datetime.now(UTC))
    return made.decode(), key.decode()


def signed(name: str, by: tuple[str, str]) -> str:
    """A certificate for ``name``."""
    spec = Certificate("y", authority="x", common_name=name, names=(name,), days=2)
    certificate, key = (part.encode() for part in by)
    return new_certificate(spec, new_key(), certificate, key, datetime.now(UTC)).decode()


def ground(issuer: Mapping[str, Any], chain: str, published: str) -> Issuing:
    settings = {"cert_manager": {"issuers": {"one": issuer}}, "vault": {}}
    return Issuing(make_context(make_site(settings)), chain, published)


@pytest.mark.parametrize(
    ("issuer", "name"),
    [
        ({"ca": {}}, "provision-verify.internal"),
        ({"vault": {}}, "provision-verify.internal"),
        ({"vault": {"domains": ["a.example"]}}, "provision-verify.a.example"),
    ],
)
def test_a_certificate_ends_at_the_issuers_own_authority(
    issuer: Mapping[str, Any], name: str
) -> None:
    own, other = authority("own"), authority("other")
    good = ground(issuer, signed(name, own), own[0])
    assert CertificateProof().prove(good, "one") == "issued and valid, for 1 days"
    assert good.asked == [name]
    with pytest.raises(NotProvenError, match="does not validate"):
        CertificateProof().prove(ground(issuer, signed(name, own), other[0]), "one")


def test_a_directory_is_asked_only_for_the_name_that_is_given(tmp_path: Path) -> None:
    own, other = authority("own"), authority("other")
    root = tmp_path / "root.pem"
    root.write_text(own[0])
    acme = {"http": {}, "verify_name": "a.example", "root": str(root)}
    good = ground({"acme": acme}, signed("a.example", own), "")
    assert CertificateProof().prove(good, "one") == "issued and valid, for 1 days"
    with pytest.raises(NotProvenError, match="does not validate"):
        CertificateProof().prove(ground({"acme": acme}, signed("b.example", own), ""), "one")
    root.write_text(other[0])
    with pytest.raises(NotProvenError, match="does not validate"):
        CertificateProof().prove(ground({"acme": acme}, signed("a.example", own), ""), "one")
    root.unlink()
    with pytest.raises(NotProvenError, match="no authority can be read"):
        CertificateProof().prove(ground({"acme": acme}, signed("a.example", own), ""), "one")

    silent = ground({"acme": {"http": {}}}, "", "")
    assert "verify_name is not set" in CertificateProof().prove(silent, "one")
    assert silent.asked == []


def test_a_vault_that_tells_no_authority_is_named() -> None:
    with pytest.raises(NotProvenError, match="tells no authority of pki"):
        CertificateProof().prove(ground({"vault": {}}, signed("a", authority("a")), "{}"), "one")
