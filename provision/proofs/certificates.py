"""Certificates: asked for in the cluster, issued, and valid by the issuer's own authority."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from provision.conditions import is_true
from provision.proof import NotProvenError, Proof

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.proof import Cluster, Ground
    from provision.site import Site

GROUP = "cert-manager.io/v1"
ISSUE_SECONDS = 120
SECRET = "proven"  # noqa: S105 - the name of a throw-away object
NAME = "provision-verify.internal"


class CertificateProof(Proof):
    """An issuer with an authority of its own issues a certificate that validates."""

    name = "certificate"
    component = "cert_manager"

    def cases(self, cluster: Cluster, site: Site) -> Sequence[str]:
        """Every ClusterIssuer that signs by itself: a directory wants a name that exists."""
        del site
        return sorted(
            item["metadata"]["name"]
            for item in cluster.all(GROUP, "ClusterIssuer")
            if "acme" not in item["spec"]
        )

    def prove(self, ground: Ground, case: str) -> str:
        """Ask for a certificate, wait for it, and verify its chain."""
        wanted: dict[str, Any] = {
            "apiVersion": GROUP,
            "kind": "Certificate",
            "metadata": {"name": "proven"},
            "spec": {
                "secretName": SECRET,
                "dnsNames": [NAME],
                "issuerRef": {"kind": "ClusterIssuer", "name": case},
            },
        }
        ground.apply(wanted)

        def look() -> str:
            found = ground.get(wanted)
            return "" if is_true(found, "Ready") else _state(found)

        ground.until("the certificate to be issued", look, ISSUE_SECONDS)
        held = ground.get({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}})
        days = _verified(held["data"])
        return f"issued and valid, for {days} days"


def _state(found: Any) -> str:
    conditions = found.get("status", {}).get("conditions") or [{"message": "nothing was done yet"}]
    return str(conditions[-1].get("message", ""))


def _verified(data: Any) -> int:
    """Days that the certificate is valid."""
    chain = x509.load_pem_x509_certificates(base64.b64decode(data["tls.crt"]))
    roots = x509.load_pem_x509_certificates(base64.b64decode(data["ca.crt"]))
    verifier = PolicyBuilder().store(Store(roots)).build_server_verifier(x509.DNSName(NAME))
    try:
        verifier.verify(chain[0], chain[1:])
    except VerificationError as error:
        raise NotProvenError("the certificate does not validate", found=str(error)) from error
    return (chain[0].not_valid_after_utc - datetime.now(UTC)).days
