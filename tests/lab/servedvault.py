"""A real Vault, from the bundle, on the loopback address."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hvac
import requests

from provision.adapters.vault import Vault
from provision.bundle import Bundle
from provision.gates import Gates
from provision.phase import GateSpec
from provision.pki import new_authority, new_certificate, new_key
from provision.secretspec import Authority, Certificate
from provision.vault.api import Member
from provision.vault.configuration import ADMIN_TEXT
from provision.vault.names import ADMIN_POLICY

CACHE = Path("~/.cache/provision/bundles").expanduser()
PASSWORD = "of-the-test"
"""Of this project's own user."""
CONFIGURATION = """
disable_mlock = true
api_addr = "https://127.0.0.1:{port}"
max_lease_ttl = "{lease}"
storage "inmem_ha" {{}}
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

        self._wait("Vault answers", lambda member: member.answers)
        told = api.initialise(1, 1, ())
        self.root = str(told["root_token"])
        api.unseal(told["shares"][0])
        self._wait("Vault leads itself", lambda member: member.active)
        api.use(self.root)
        api.configure("secrets", "secret", {"type": "kv", "options": {"version": "2"}})
        for name in ("approle", "userpass"):
            api.configure("auth", name, {"type": name})
        api.configure("policies", ADMIN_POLICY, ADMIN_TEXT)
        own = {"token_policies": [ADMIN_POLICY], "token_type": "batch", "token_ttl": 900}
        api.configure("users", "provision", own, password=PASSWORD)
        self.api = self.member()
        self.api.login("provision", PASSWORD)

    def _wait(self, what: str, holds: Callable[[Member], bool]) -> None:
        def look(_: Mapping[str, Any]) -> tuple[bool, str]:
            member = self.member().member()
            return holds(member), member.error

        Gates({what: look}).wait(GateSpec(what, 60, {}), lambda _: None, lambda: False)

    def member(self) -> Vault:
        return Vault(self.url, self.ca)

    def client(self, token: str) -> hvac.Client:
        """What others speak to it with, such as Phalanx's installer."""
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.ca)
        return hvac.Client(url=self.url, token=token, verify=str(self.ca), session=session)


@contextmanager
def served(folder: Path, lease: str = "87600h") -> Iterator[Served]:
    """One that is set up, with its files in ``folder``; it ends with the block."""
    running = Served(folder, lease)
    try:
        running.set_up()
        yield running
    finally:
        running.process.terminate()
        running.process.wait(30)
