"""A real Vault, from the bundle, holds what Phalanx's installer makes, by the installer's calls."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import hvac
import pytest
import requests
from hvac.exceptions import Forbidden

from provision.adapters.vault import Vault
from provision.bundle import Bundle
from provision.gates import Gates
from provision.phalanx import preflight, vaultside
from provision.phalanx.names import TOKEN_SECONDS
from provision.phase import GateSpec
from provision.pki import new_authority, new_certificate, new_key
from provision.secretspec import Authority, Certificate
from provision.vault.configuration import ADMIN_TEXT
from provision.vault.names import ADMIN_POLICY

pytestmark = pytest.mark.services

PATH = "phalanx/observatory"
CACHE = Path("~/.cache/provision/bundles").expanduser()
CONFIGURATION = """
disable_mlock = true
api_addr = "https://127.0.0.1:{port}"
max_lease_ttl = "{lease}"
storage "inmem" {{}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_cert_file = "{folder}/tls.crt"
  tls_key_file = "{folder}/tls.key"
}}
"""


class Served:
    """A Vault on loopback; ``api`` is this project's own user, whose tokens are batch tokens."""

    def __init__(self, folder: Path, lease: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"https://127.0.0.1:{port}"
        self.ca = folder / "ca.crt"
        now = datetime.now(UTC)
        authority_key, key = new_key(), new_key()
        authority = new_authority(Authority("other", "other CA"), authority_key, now)
        spec = Certificate("other", "other", "other", names=("127.0.0.1",))
        self.ca.write_bytes(authority)
        (folder / "tls.key").write_bytes(key)
        (folder / "tls.crt").write_bytes(new_certificate(spec, key, authority, authority_key, now))
        text = CONFIGURATION.format(port=port, folder=folder, lease=lease)
        (folder / "vault.hcl").write_text(text)
        bundle = Bundle.open(next(iter(sorted(CACHE.glob("*-source-amd64")))), ())
        binary = folder / "vault"
        binary.write_bytes(bundle.path("vault", "amd64").read_bytes())
        binary.chmod(0o700)
        self.process = subprocess.Popen(
            [binary, "server", f"-config={folder / 'vault.hcl'}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
        )

    def set_up(self) -> None:
        """Initialise it as the phase ``vault`` does."""
        api = self.member()

        def answers() -> tuple[bool, str]:
            return api.member().answers, api.member().error

        spec = GateSpec("Vault answers", 60, {})
        Gates({spec.condition: lambda _: answers()}).wait(spec, lambda _: None, lambda: False)
        told = api.initialise(1, 1, ())
        self.root = str(told["root_token"])
        api.unseal(told["shares"][0])
        api.use(self.root)
        api.configure("secrets", "secret", {"type": "kv", "options": {"version": "2"}})
        for name in ("approle", "userpass"):
            api.configure("auth", name, {"type": name})
        api.configure("policies", ADMIN_POLICY, ADMIN_TEXT)
        own = {"token_policies": [ADMIN_POLICY], "token_type": "batch", "token_ttl": 900}
        api.configure("users", "provision", own, password="of-the-test")
        self.api = self.member()
        self.api.login("provision", "of-the-test")

    def member(self) -> Vault:
        return Vault(self.url, self.ca)

    def client(self, token: str) -> hvac.Client:
        """What the installer has."""
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.ca)
        return hvac.Client(url=self.url, token=token, verify=str(self.ca), session=session)

    def rows(self, kept: vaultside.Credentials) -> dict[str, preflight.Row]:
        found = vaultside.facts(self.api, self.member(), self.member(), PATH, kept)
        return {row.what: row for row in preflight.vault_rows(found)}


def served(folder: Path, lease: str) -> Iterator[Served]:
    running = Served(folder, lease)
    try:
        running.set_up()
        yield running
    finally:
        running.process.terminate()
        running.process.wait(30)


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Served]:
    yield from served(tmp_path, "87600h")


@pytest.fixture
def short_lived(tmp_path: Path) -> Iterator[Served]:
    yield from served(tmp_path, "768h")


def test_what_is_made_is_what_the_installer_asks_for(vault: Served) -> None:
    made = vaultside.make_credentials(vault.api, PATH)
    assert [row for row in vault.rows(made).values() if not row.good] == []
    writer = vault.client(made.token)
    kv = writer.secrets.kv.v2
    kv.create_or_update_secret(f"{PATH}/argocd", secret={"a": "b"}, mount_point="secret")
    assert kv.list_secrets(PATH, mount_point="secret")["data"]["keys"] == ["argocd"]
    reader = vault.client("")
    reader.auth.approle.login(made.role_id, made.secret_id)
    secret = reader.secrets.kv.v2.read_secret_version(
        f"{PATH}/argocd", mount_point="secret", raise_on_deleted_version=True
    )
    assert secret["data"]["data"] == {"a": "b"}
    with pytest.raises(Forbidden):
        reader.secrets.kv.v2.create_or_update_secret(
            f"{PATH}/argocd", secret={}, mount_point="secret"
        )
    assert vault.rows(made)[f"AppRole reads secret/data/{PATH}/argocd"].found == "it is there"


def test_the_write_token_outlives_who_made_it(vault: Served) -> None:
    made = vaultside.make_credentials(vault.api, PATH)
    told = vault.client(made.token).auth.token.lookup_self()["data"]
    assert told["orphan"]
    assert TOKEN_SECONDS - 60 <= told["ttl"] <= TOKEN_SECONDS
    assert told["policies"] == ["default", f"{PATH}/write"]
    assert vault.api.names("auth/approle/role") == ["observatory"]


def test_the_installer_after_us_changes_nothing_but_the_secret_id(vault: Served) -> None:
    made = vaultside.make_credentials(vault.api, PATH)
    installer = vault.client(vault.root)
    text = vaultside.policy_text(vaultside.read_rules(PATH))
    installer.sys.create_or_update_acl_policy(f"{PATH}/read", text)
    installer.auth.approle.create_or_update_approle(
        role_name="observatory", token_policies=[f"{PATH}/read"], token_type="service"
    )
    assert installer.auth.approle.read_role_id("observatory")["data"]["role_id"] == made.role_id
    assert [row for row in vault.rows(made).values() if not row.good] == []


def test_new_credentials_end_the_old_ones_and_only_then(vault: Served) -> None:
    old = vaultside.make_credentials(vault.api, PATH)
    new = vaultside.make_credentials(vault.api, PATH)
    assert vaultside.holds(vault.member(), vault.member(), old)
    assert vaultside.revoke_others(vault.api, PATH, new) == 1
    assert not vaultside.holds(vault.member(), vault.member(), old)
    assert vaultside.holds(vault.member(), vault.member(), new)


def test_a_token_that_is_cut_short_is_told(short_lived: Served) -> None:
    made = vaultside.make_credentials(short_lived.api, PATH)
    rows = short_lived.rows(made)
    assert not rows["Vault max_lease_ttl"].good
    assert rows["Vault max_lease_ttl"].found == "768h"
    assert not rows["write token lives"].good


def test_secret_ids_of_others_are_seen_and_what_nobody_got_is_taken_back(vault: Served) -> None:
    assert vaultside.secret_ids(vault.api, PATH) == 0
    made = vaultside.make_credentials(vault.api, PATH)
    assert vaultside.secret_ids(vault.api, PATH) == 1
    vaultside.take_back(vault.api, PATH, made)
    assert vaultside.secret_ids(vault.api, PATH) == 0
    assert not vaultside.holds(vault.member(), vault.member(), made)


def test_a_write_token_that_nobody_knows_of_goes_with_the_others(vault: Served) -> None:
    lost = vaultside.make_credentials(vault.api, PATH)
    other = vaultside.make_credentials(vault.api, "phalanx/another")
    new = vaultside.make_credentials(vault.api, PATH)
    vaultside.revoke_others(vault.api, PATH, new)
    for token, lives in ((lost.token, False), (other.token, True), (new.token, True)):
        assert vault.client(token).is_authenticated() is lives
