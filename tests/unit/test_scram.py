"""Verifiers of passwords, as PostgreSQL keeps them."""

from __future__ import annotations

import pytest

from provision.scram import new_verifier, verifies

RFC = (
    b"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=="
    b"$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)
"""The exchange of RFC 7677, section 3, whose password is ``pencil``, as a verifier."""


def test_the_example_of_the_rfc() -> None:
    assert verifies(RFC, b"pencil")
    assert not verifies(RFC, b"pencils")


def test_a_new_one_is_of_its_password_and_like_no_other() -> None:
    first, second = new_verifier(b"secret"), new_verifier(b"secret")
    assert first != second
    assert verifies(first, b"secret")
    assert not verifies(first, b"other")
    assert b"secret" not in first


@pytest.mark.parametrize(
    "damaged", [b"", b"md5abc", RFC[:-4], RFC.replace(b"$", b"&"), b"\xff$a:b$c"]
)
def test_what_is_none_verifies_nothing(damaged: bytes) -> None:
    assert not verifies(damaged, b"pencil")
