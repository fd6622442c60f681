"""A server certificate for an address from an authority of the test's own."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from provision.pki import new_authority, new_certificate, new_key
from provision.secretspec import Authority, Certificate


def server_context(folder: Path, address: str = "127.0.0.1") -> tuple[ssl.SSLContext, Path]:
    """What a server encrypts with, and the file of the authority that vouches for it."""
    now = datetime.now(UTC)
    authority_key, key = new_key(), new_key()
    authority = new_authority(Authority("company", "company CA"), authority_key, now)
    spec = Certificate("mirror", "company", "mirror", names=(address,))
    certificate = new_certificate(spec, key, authority, authority_key, now)
    chain, ca = folder / "mirror.pem", folder / "company-ca.pem"
    chain.write_bytes(key + certificate)
    ca.write_bytes(authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context, ca
