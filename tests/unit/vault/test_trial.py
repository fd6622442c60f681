"""What a proof makes in Vault is taken out, whatever happens."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from provision.vault.trial import KEPT, sweep, trial
from tests.support.vault import ROOT, FakeVault

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture
def vault() -> FakeVault:
    fake = FakeVault()
    fake.initialise(1, 1, [])
    fake.unseal(fake.shares[0])
    fake.use(ROOT)
    return fake


def test_a_role_and_its_secret_are_there_and_gone_afterwards(vault: FakeVault) -> None:
    with trial(vault, "t-1", "approle", {"secret_id_ttl": 60}) as wanted:
        role = vault.read("auth/approle/role/t-1")
        assert role is not None
        assert (role["token_type"], role["token_policies"]) == ("batch", ["t-1"])
        assert role["secret_id_ttl"] == 60
        policy = vault.read("sys/policies/acl/t-1")
        assert policy is not None
        assert wanted.path in policy["policy"]
    assert not [path for path in vault.written if not path.startswith("secret/data/")]


def test_they_are_gone_after_a_failure_too(vault: FakeVault) -> None:
    with pytest.raises(KeyError), trial(vault, "t-1", "kubernetes", {}):
        raise KeyError
    assert not [path for path in vault.written if not path.startswith("secret/data/")]


def test_what_a_killed_run_left_behind_is_taken_out_after_an_hour(vault: FakeVault) -> None:
    for name, hour in (("old", "10"), ("new", "11")):
        vault.write(f"{KEPT}/{name}", {"created_time": f"2026-11-24T{hour}:30:00.123456789Z"})
        vault.write(f"auth/approle/role/{name}", {})
    sweep(vault, NOW)
    assert sorted(vault.written) == ["auth/approle/role/new", f"{KEPT}/new"]
