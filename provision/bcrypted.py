"""Verifiers of passwords as Argo CD keeps them: bcrypt's hashes."""

from __future__ import annotations

import bcrypt

ROUNDS = 4
"""The fewest: what makes guessing slow is of no use where a password is random."""


def new_verifier(password: bytes) -> bytes:
    """A hash of ``password``, of 72 bytes at most, with a salt of its own."""
    return bcrypt.hashpw(password, bcrypt.gensalt(ROUNDS))


def verifies(verifier: bytes, password: bytes) -> bool:
    """Whether ``verifier`` is one of ``password``."""
    try:
        return bcrypt.checkpw(password, verifier)
    except ValueError:
        return False
