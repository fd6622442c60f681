"""Another Vault, on the lab's host, that keeps a key for the lab's own."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import hvac
import requests

from provision.pki import new_authority, new_certificate, new_key
from provision.secretspec import Authority, Certificate
from tests.lab.waiting import wait_until

ADDRESS = "10.199.50.1"
"""The host, as the lab's machines reach it."""
PORT = 8250
KEY = "observatory"
POLICY = f"""
path "transit/encrypt/{KEY}" {{ capabilities = ["update"] }}
path "transit/decrypt/{KEY}" {{ capabilities = ["update"] }}
"""
CONFIGURATION = """
api_addr = "https://{address}:{port}"
cluster_addr = "https://{address}:{cluster_port}"
disable_mlock = true
listener "tcp" {{
  address = "{address}:{port}"
  tls_cert_file = "{folder}/tls.crt"
  tls_key_file = "{folder}/tls.key"
}}
storage "raft" {{
  path = "{folder}/data"
  node_id = "other"
}}
"""


class TransitVault:
    """A process of the host, with storage and a certificate in ``folder``."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.binary = binary
        self.folder = folder
        self.url = f"https://{ADDRESS}:{PORT}"
        self.authority = folder / "ca.crt"
        self._process: subprocess.Popen[bytes] | None = None
        self._share = self._root = ""
        now = datetime.now(UTC)
        authority_key, key = new_key(), new_key()
        authority = new_authority(Authority("other", "other CA"), authority_key, now)
        spec = Certificate("other", "other", "other", names=(ADDRESS,))
        self.authority.write_bytes(authority)
        (folder / "tls.key").write_bytes(key)
        (folder / "tls.crt").write_bytes(new_certificate(spec, key, authority, authority_key, now))
        (folder / "data").mkdir()
        (folder / "vault.hcl").write_text(
            CONFIGURATION.format(address=ADDRESS, port=PORT, cluster_port=PORT + 1, folder=folder)
        )

    def start(self) -> None:
        """Start it, unsealed; the first time it is set up."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.binary, "server", f"-config={self.folder / 'vault.hcl'}"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={},
            )
        wait_until("the other Vault answers", self._answers, seconds=60)
        if not self._share:
            told = self._client().sys.initialize(1, 1)
            self._share, self._root = told["keys"][0], told["root_token"]
        self._client().sys.submit_unseal_key(self._share)
        wait_until("the other Vault serves", self._serves, seconds=60)
        client = self._client()
        if "transit/" not in client.sys.list_mounted_secrets_engines()["data"]:
            client.sys.enable_secrets_engine("transit")
            client.secrets.transit.create_key(KEY)
            client.sys.create_or_update_acl_policy("unseal", POLICY)

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def token(self) -> str:
        """A new token that may use the key."""
        made = self._client().auth.token.create_orphan(policies=["unseal"], period="24h")
        return str(made["auth"]["client_token"])

    def _client(self) -> hvac.Client:
        session = requests.Session()
        session.trust_env = False
        authority = str(self.authority)
        session.verify = authority
        return hvac.Client(
            url=self.url, token=self._root, verify=authority, timeout=60, session=session
        )

    def _answers(self) -> bool:
        try:
            self._client().sys.read_seal_status()
        except requests.RequestException:
            return False
        return True

    def _serves(self) -> bool:
        return bool(self._client().sys.read_leader_status()["is_self"])
