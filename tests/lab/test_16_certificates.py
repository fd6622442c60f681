"""Certificates by ACME and by Vault: issued, renewed when they are due, and served."""

from __future__ import annotations

import json
import subprocess
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import hvac
import pytest
import yaml
from cryptography import x509

from provision.proofs.certificates import verify_chain
from tests.lab.certificates import NAMESPACE, QUESTION, certificate, server, solvers
from tests.lab.machines import ROOT, Lab
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.services

BY_DNS, BY_HTTP, BY_VAULT = "letsencrypt-dns", "letsencrypt-http", "inner"
BY_PROVIDER = "at-a-provider"
ISSUERS = ("site-ca", BY_DNS, BY_HTTP, BY_VAULT, BY_PROVIDER)
ROLE = "cert-manager-inner"


@dataclass(frozen=True)
class Certificates:
    """The lab with issuers that ask an ACME directory of the lab's own, and its Vault."""

    lab: Lab
    folder: Path
    """The directory's: ``ca.pem`` and ``root.pem``."""
    zone: str
    served: str
    solving: str
    """Addresses of the load balancer."""

    def chain(self, name: str) -> list[x509.Certificate]:
        """What the Secret ``name`` holds."""
        path = "jsonpath={.data.tls\\.crt}"
        printed = self.lab.kubectl("-n", NAMESPACE, "get", "secret", name, "-o", path)
        return x509.load_pem_x509_certificates(b64decode(printed))

    def roots(self) -> list[x509.Certificate]:
        """At whom the directory's certificates end."""
        return x509.load_pem_x509_certificates((self.folder / "root.pem").read_bytes())

    def fetch(self, *trust: str) -> int:
        """How a stock client's visit at the server ends: curl's exit code."""
        name = f"served.{self.zone}"
        command = ["curl", "--silent", "--fail", "--max-time", "5", "--noproxy", "*", *trust]
        command += ["--resolve", f"{name}:443:{self.served}", f"https://{name}/{QUESTION}"]
        return subprocess.run(command, capture_output=True, check=False).returncode


@pytest.fixture(scope="module")
def certificates(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certificates]:
    """Issuers of all kinds, as an administrator adds them to the site file."""
    data = yaml.safe_load(lab.site_file.read_text())
    folder = tmp_path_factory.mktemp("pebble")
    pool = ip_address(data["load_balancer"]["pools"]["public"]["addresses"][0].partition("-")[0])
    made = Certificates(lab, folder, data["dns"]["zone"], str(pool + 6), str(pool + 7))
    dns = lab.machines[lab.control_plane[0]].address
    gateway = str(ip_network(data["network"]["machines"])[1])
    url = _pebble("start", str(folder), gateway, f"{dns}:53")

    token = folder / "token"
    token.touch(0o600)
    token.write_text("of-nobody")
    secrets = {"apiTokenSecretRef": {"file": str(token)}}
    provider = {"solver": "cloudflare", "secrets": secrets}

    def with_issuers(site: dict[str, Any]) -> None:
        acme = {"directory": url, "ca": str(folder / "ca.pem")}
        proven = {"verify_name": f"proven.{made.zone}", "root": str(folder / "root.pem")}
        site["dns"].setdefault("records", {})["by-http"] = {"A": made.solving}
        site["cert_manager"]["issuers"] = {
            "site-ca": {"ca": {}},
            BY_DNS: {"acme": {**acme, **proven, "dns": {"update_key": "acme"}}},
            BY_HTTP: {"acme": {**acme, "http": {}}},
            BY_VAULT: {"vault": {}},
            BY_PROVIDER: {"acme": {**acme, "provider": provider}},
        }

    try:
        changed = lab.changed(folder, with_issuers)
        changed.provision("up", "--no-verify")
        lab.kubectl("create", "namespace", NAMESPACE)
        yield Certificates(changed, folder, made.zone, made.served, made.solving)
        lab.kubectl("delete", "namespace", NAMESPACE, "--timeout=120s")
        lab.kubectl("delete", "clusterissuer", *ISSUERS[1:])
        kept = [f"{name}-account" for name in (BY_DNS, BY_HTTP, BY_PROVIDER)]
        kept += [f"{BY_DNS}-tsig", f"{BY_VAULT}-vault", f"{BY_PROVIDER}-provider"]
        lab.kubectl("-n", "cert-manager", "delete", "secret", *kept)
        lab.provision("up", "--no-verify")
    finally:
        _pebble("stop", str(folder))


def _pebble(*arguments: str) -> str:
    done = subprocess.run(
        [ROOT / "lab" / "pebble", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_issuer_is_proven(certificates: Certificates, report: Callable[[str], None]) -> None:
    found = json.loads(certificates.lab.provision("verify", "--json", "--only", "certificate"))
    for verdict in found["proofs"]:
        report(f"verify: {verdict['proof']}: {verdict['seconds']} s, {verdict['detail']}")
    assert {verdict["proof"]: verdict["proven"] for verdict in found["proofs"]} == {
        f"certificate {name}": True for name in ISSUERS
    }
    details = {verdict["proof"]: verdict["detail"] for verdict in found["proofs"]}
    assert details[f"certificate {BY_DNS}"] == "issued and valid, for 0 days"


def test_names_are_proven_by_http(certificates: Certificates) -> None:
    name = f"by-http.{certificates.zone}"
    lab = certificates.lab
    lab.kubectl("apply", "-f", "-", stdin=solvers(certificates.solving))
    lab.kubectl("apply", "-f", "-", stdin=certificate("by-http", name, BY_HTTP, "5m"))
    wait_until("a certificate by http-01", lambda: certificates.chain("by-http"), seconds=180)
    verify_chain(certificates.chain("by-http"), certificates.roots(), name)


def test_a_certificate_is_served_to_a_stock_client_and_renewed_when_due(
    certificates: Certificates, report: Callable[[str], None]
) -> None:
    name = f"served.{certificates.zone}"
    lab = certificates.lab
    # The directory's certificates hold an hour, so this one is due a minute after it was issued.
    lab.kubectl("apply", "-f", "-", stdin=certificate("served", name, BY_DNS, "59m"))
    took = wait_until("a certificate by dns-01", lambda: certificates.chain("served"), seconds=240)
    report(f"a certificate by dns-01 is there after {took:.1f} s")
    first = certificates.chain("served")
    verify_chain(first, certificates.roots(), name)
    path = "jsonpath={.spec.template.spec.containers[0].image}"
    image = lab.kubectl("-n", "kube-system", "get", "deployment", "coredns", "-o", path)
    lab.kubectl("apply", "-f", "-", stdin=server(image, "served", certificates.served))
    trust = ("--cacert", str(certificates.folder / "root.pem"))
    wait_until("an answer", lambda: certificates.fetch(*trust) == 0, seconds=120)
    assert certificates.fetch() == 60, "who does not trust the authority is not served"

    def renewed() -> bool:
        return certificates.chain("served")[0].serial_number != first[0].serial_number

    wait_until("the certificate to be renewed", renewed, seconds=300)
    second = certificates.chain("served")[0]
    report(
        f"renewed {(second.not_valid_before_utc - first[0].not_valid_before_utc).seconds} s after"
        " it was issued; it was due after 60 s"
    )
    assert second.public_key() != first[0].public_key()
    verify_chain(certificates.chain("served"), certificates.roots(), name)
    lab.kubectl("-n", NAMESPACE, "rollout", "restart", "deployment/server")
    lab.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/server")
    wait_until("an answer", lambda: certificates.fetch(*trust) == 0, seconds=60)


def test_the_sites_authority_renews_when_due(certificates: Certificates) -> None:
    name = f"own.{certificates.zone}"
    certificates.lab.kubectl(
        "apply", "-f", "-", stdin=certificate("own", name, "site-ca", "59m30s")
    )
    wait_until("a certificate", lambda: certificates.chain("own"), seconds=60)
    first = certificates.chain("own")[0].serial_number
    wait_until(
        "the certificate to be renewed",
        lambda: certificates.chain("own")[0].serial_number != first,
        seconds=90,
    )


def test_what_vault_holds_for_it_is_kept(certificates: Certificates) -> None:
    lab = certificates.lab
    vault = hvac.Client(
        f"https://{lab.machines[lab.control_plane[0]].address}:8200",
        verify=str(lab.state / "secrets" / "site-ca.crt"),
    )
    password = (lab.state / "secrets" / "vault" / "admin-password").read_text()
    vault.auth.userpass.login("admin", password)
    authority = vault.secrets.pki.read_ca_certificate()
    vault.sys.create_or_update_acl_policy(ROLE, 'path "pki/*" { capabilities = ["sudo"] }')
    signing = f"pki/roles/{BY_VAULT}"
    vault.write_data(signing, data={**vault.read(signing)["data"], "allow_any_name": False})
    vault.delete(f"auth/approle/role/{ROLE}")
    planned = json.loads(lab.provision("plan", "--json", expect=2))["phases"]
    assert {name for name, item in planned.items() if item["decision"] == "run"} == {"vault"}
    reasons = {why for whys in planned["vault"]["reasons"].values() for why in whys}
    assert reasons == {
        f"policy {ROLE} is changed, wanted as the site says",
        f"path {signing} has allow_any_name False, wanted True",
        f"path auth/approle/role/{ROLE} is missing, wanted present",
        f"path auth/approle/role/{ROLE}/role-id is missing, wanted present",
        f"secret id of {ROLE} is missing, wanted present",
    }
    lab.provision("up", "--no-verify")
    lab.provision("plan", expect=0)
    lab.provision("verify", "--only", "certificate")
    assert vault.secrets.pki.read_ca_certificate() == authority, "it is never made again"


def test_no_key_is_in_any_record(certificates: Certificates) -> None:
    lab = certificates.lab
    secrets = [lab.state / "secrets" / name for name in ("dns/key/acme", f"vault/{ROLE}-secret-id")]
    told = lab.kubectl("get", "events", "--all-namespaces", "-o", "json")
    told += lab.provision("plan", "--json", expect=None) + lab.provision("inventory")
    told += "".join(path.read_text() for path in (lab.state / "runs").glob("*.jsonl"))
    logs = (
        "kubectl --kubeconfig /etc/kubernetes/admin.conf -n cert-manager logs deploy/cert-manager"
    )
    told += lab.machines[lab.control_plane[0]].run(logs)
    for path in secrets:
        secret = path.read_text().strip()
        assert secret not in told, path
        for machine in lab.machines.values():
            found = machine.run("grep -rlFf - /var/log /run/log || true", stdin=secret)
            assert found == "", (machine.name, found)
