"""What becomes of what a real member answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.adapters.vault import Vault
from provision.errors import VaultFailureError, VaultRefusalError
from tests.support.httpserver import FaultyServer, Turn


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, VaultRefusalError),
        (403, VaultRefusalError),
        (429, VaultFailureError),
        (500, VaultFailureError),
        (502, VaultFailureError),
        (503, VaultFailureError),
    ],
)
def test_what_fails_is_told_from_what_is_refused(
    tmp_path: Path, status: int, error: type[VaultRefusalError]
) -> None:
    with FaultyServer() as server:
        server.misbehave("/v1/auth/token/lookup-self", Turn(status=status))
        with pytest.raises(VaultRefusalError) as told:
            Vault(server.url, tmp_path / "ca.crt").read("auth/token/lookup-self")
    assert type(told.value) is error
