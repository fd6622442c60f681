"""Certificates: asked for in the cluster, issued, and valid by the issuer's own authority."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from provision.conditions import is_true
from provision.issuers import Issuer, VaultPki
from provision.phases.cert_manager import NAMESPACE, CertManagerSettings
from provision.phases.vault import vault_url
from provision.proof import NotProvenError, Proof

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.proof import Cluster, Ground, Object
    from provision.site import Site

GROUP = "cert-manager.io/v1"
READY_SECONDS = 120
ISSUE_SECONDS = 120
ACME_SECONDS = 300
"""cert-manager alone waits for a minute after a record is there."""
SECRET = "proven"  # noqa: S105 - the name of a throw-away object
NAME = "provision-verify.internal"


class CertificateProof(Proof):
    """Each issuer is ready, and issues a certificate that validates by its own authority."""

    name = "certificate"
    component = "cert_manager"

    def cases(self, cluster: Cluster, site: Site) -> Sequence[str]:
        """Every issuer of the site."""
        del cluster
        return sorted(site.settings(CertManagerSettings).issuers)

    def prove(self, ground: Ground, case: str) -> str:
        """Wait for the issuer; ask it for a certificate, and verify the chain."""
        issuer = ground.site_context.site.settings(CertManagerSettings).issuers[case]
        named = {"apiVersion": GROUP, "kind": "ClusterIssuer", "metadata": {"name": case}}
        _until_ready(ground, f"the issuer {case} to be ready", named, READY_SECONDS)
        name = _name(issuer)
        if name is None:
            return "knows the site's account; verify_name is not set, so nothing was asked for"
        wanted: dict[str, Any] = {
            "apiVersion": GROUP,
            "kind": "Certificate",
            "metadata": {"name": SECRET},
            "spec": {
                "secretName": SECRET,
                "dnsNames": [name],
                "issuerRef": {"kind": "ClusterIssuer", "name": case},
            },
        }
        ground.apply(wanted)
        seconds = ACME_SECONDS if issuer.acme else ISSUE_SECONDS
        _until_ready(ground, f"the certificate for {name} to be issued", wanted, seconds)
        held = ground.get({**wanted, "apiVersion": "v1", "kind": "Secret"})
        chain = x509.load_pem_x509_certificates(base64.b64decode(held["data"]["tls.crt"]))
        verify_chain(chain, _roots(ground, case, issuer), name)
        days = (chain[0].not_valid_after_utc - datetime.now(UTC)).days
        return f"issued and valid, for {days} days"


def verify_chain(
    chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], name: str
) -> None:
    """Return where ``chain`` shows a server to be ``name`` to whoever trusts ``roots``.

    Raises
    ------
    NotProvenError
        It does not.
    """
    verifier = PolicyBuilder().store(Store(list(roots))).build_server_verifier(x509.DNSName(name))
    try:
        verifier.verify(chain[0], list(chain[1:]))
    except VerificationError as error:
        raise NotProvenError("the certificate does not validate", found=str(error)) from error


def _until_ready(ground: Ground, what: str, wanted: Object, seconds: float) -> None:
    def look() -> str:
        found = ground.get(wanted)
        return "" if is_true(found, "Ready") else _state(found)

    ground.until(what, look, seconds)


def _state(found: Object) -> str:
    conditions = found.get("status", {}).get("conditions") or [{"message": "nothing was done yet"}]
    return str(conditions[-1].get("message", ""))


def _name(issuer: Issuer) -> str | None:
    """What a certificate is asked for, if any is."""
    if issuer.acme is not None:
        return issuer.acme.verify_name
    domains = issuer.vault.domains if issuer.vault else ()
    return f"provision-verify.{domains[0]}" if domains else NAME


def _roots(ground: Ground, case: str, issuer: Issuer) -> list[x509.Certificate]:
    """Whom a user of the issuer's certificates trusts, from elsewhere than the certificate."""
    if issuer.acme is not None:
        # The model has it where it has a name.
        return _read(ground.site_context.site.resolve(issuer.acme.root or Path()))
    if issuer.vault is not None:
        return _published(ground, case, issuer.vault)
    return x509.load_pem_x509_certificates(_held(ground, case, "tls.crt"))


def _read(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise NotProvenError(f"no authority can be read from {path}", found=str(error)) from error


def _published(ground: Ground, case: str, pki: VaultPki) -> list[x509.Certificate]:
    """The authority as Vault itself tells everybody."""
    site = ground.site_context.site
    server = pki.server or vault_url(site)
    if pki.server is None:
        trust = _held(ground, f"{case}-vault", "ca.crt").decode()
    else:
        trust = site.resolve(pki.ca).read_text("utf-8") if pki.ca else ""
    told = ground.fetch(f"{server}/v1/{pki.mount}/ca_chain", trust)
    try:
        return x509.load_pem_x509_certificates(told.encode())
    except ValueError as error:
        raise NotProvenError(f"{server} tells no authority of {pki.mount}", found=told) from error


def _held(ground: Ground, name: str, key: str) -> bytes:
    """A value of a Secret of cert-manager's."""
    metadata = {"name": name, "namespace": NAMESPACE}
    held = ground.get({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    return base64.b64decode(held["data"][key])
