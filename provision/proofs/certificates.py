"""Certificates: asked for in the cluster, issued, and valid by the issuer's own authority."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from provision.conditions import is_true
from provision.phases.cert_manager import NAMESPACE, CertManagerSettings, Issuer
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
            "metadata": {"name": "proven"},
            "spec": {
                "secretName": SECRET,
                "dnsNames": [name],
                "issuerRef": {"kind": "ClusterIssuer", "name": case},
            },
        }
        ground.apply(wanted)
        seconds = ACME_SECONDS if issuer.acme else ISSUE_SECONDS
        _until_ready(ground, f"the certificate for {name} to be issued", wanted, seconds)
        held = ground.get({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}})
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
    return issuer.acme.verify_name if issuer.acme else NAME


def _roots(ground: Ground, case: str, issuer: Issuer) -> list[x509.Certificate]:
    """Whom a user of the issuer's certificates trusts."""
    if issuer.acme is None:
        own = {"name": case, "namespace": NAMESPACE}
        held = ground.get({"apiVersion": "v1", "kind": "Secret", "metadata": own})
        return x509.load_pem_x509_certificates(base64.b64decode(held["data"]["tls.crt"]))
    # The model has both, or neither.
    root = ground.site_context.site.resolve(issuer.acme.root or Path())
    try:
        return x509.load_pem_x509_certificates(root.read_bytes())
    except (OSError, ValueError) as error:
        raise NotProvenError(f"no authority can be read from {root}", found=str(error)) from error
