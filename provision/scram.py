"""Verifiers of passwords as PostgreSQL keeps them: SCRAM-SHA-256 (RFC 5802, RFC 7677).

A server that is given the verifier never sees the password, so that it cannot end in a log.
Passwords are ASCII here, which SASLprep leaves as they are.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

ITERATIONS = 4096
"""As PostgreSQL's own; passwords that are random need no more."""
SALT_BYTES = 16


def new_verifier(password: bytes) -> bytes:
    """A verifier of ``password`` with a salt of its own."""
    return _verifier(password, os.urandom(SALT_BYTES), ITERATIONS)


def verifies(verifier: bytes, password: bytes) -> bool:
    """Whether ``verifier`` is one of ``password``."""
    try:
        _, parameters, _ = verifier.decode("ascii").split("$")
        iterations, salt = parameters.split(":")
        wanted = _verifier(password, base64.b64decode(salt, validate=True), int(iterations))
    except ValueError:
        return False
    return hmac.compare_digest(verifier, wanted)


def _verifier(password: bytes, salt: bytes, iterations: int) -> bytes:
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored, server = hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")
    first, second, third = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${iterations}:{first}${second}:{third}".encode()
