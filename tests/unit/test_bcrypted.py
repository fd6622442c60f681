"""Verifiers of passwords, as Argo CD keeps them."""

from __future__ import annotations

import pytest

from provision.bcrypted import new_verifier, verifies

KNOWN = b"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
"""Of ``U*U``: a test vector of Openwall's crypt_blowfish."""


def test_a_known_hash() -> None:
    assert verifies(KNOWN, b"U*U")
    assert not verifies(KNOWN, b"U*U*")


def test_a_new_one_is_of_its_password_and_like_no_other() -> None:
    first, second = new_verifier(b"secret"), new_verifier(b"secret")
    assert first != second
    assert verifies(first, b"secret")
    assert not verifies(first, b"other")
    assert b"secret" not in first


@pytest.mark.parametrize("damaged", [b"", b"$2b$", KNOWN[:-4], KNOWN.replace(b"$", b"&"), b"\xff"])
def test_what_is_none_verifies_nothing(damaged: bytes) -> None:
    assert not verifies(damaged, b"U*U")
