"""What must hold before Phalanx's installer starts: facts in, rows out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from ipaddress import ip_network
from typing import Any

from provision.issuers import Issuer
from provision.phalanx.names import (
    AGAIN,
    IN_CLUSTER_CLASS,
    ISSUER,
    KUBERNETES,
    LEASE_SECONDS,
    MOUNT,
    TOKEN_LEFT_SECONDS,
    TOKEN_SECONDS,
    read_policy,
    write_policy,
)
from provision.phalanx.vaultside import lacking, policy_text, read_rules, write_rules
from provision.vault.api import Member

RFC_1918 = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
UP = "provision up"
NFS_CLIENT = "nfs-common"
"""Debian's package with mount.nfs(8)."""

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One thing that must hold."""

    what: str
    found: str
    wanted: str
    good: bool
    fix: str = ""
    """What to do where it does not hold."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def vault_address_row(url: str, seen: Member) -> Row:
    """Whether Vault serves at the address that is handed over, as the controller sees it."""
    return judged(
        "Vault's address",
        f"{url}: {seen.error or ('serves' if seen.serves else 'is sealed')}",
        "one address, which serves administrators' machines and pods",
        seen.serves,
        "see that this controller resolves and reaches it, then: provision vault status",
    )


def vault_rows(facts: Facts) -> Iterator[Row]:
    """The Vault side, from :func:`provision.phalanx.vaultside.facts`."""
    path = facts["path"]
    mount = facts["mount"]
    found = f"{mount['type']} {mount['version']}" if mount["type"] else "nothing"
    yield judged(f"Vault engine at {MOUNT}", found, "kv 2", found == "kv 2", UP)
    approle = facts["approle"] or "nothing"
    yield judged("Vault auth/approle", approle, "approle", approle == "approle", UP)
    lease = facts["max_lease_ttl"]
    yield judged(
        "Vault max_lease_ttl",
        f"{lease // 3600}h",
        "at least 87600h",
        lease >= LEASE_SECONDS,
        "vault.max_lease_ttl: 87600h in the site file, then provision up",
    )
    for name, rules in (
        (read_policy(path), read_rules(path)),
        (write_policy(path), write_rules(path)),
    ):
        text = facts["policies"].get(name, "")
        lacks = lacking(text, rules)
        same = text == policy_text(rules)
        said = f"lacks {', '.join(lacks)}" if lacks else "allows that, in other words"
        yield judged(
            f"Vault policy {name}",
            "as the installer writes it" if same else said if text else "missing",
            "as the installer writes it, which its audit compares to the letter",
            same,
            AGAIN,
        )
    role = facts["role"]
    policies = ", ".join(role["token_policies"]) or "missing"
    yield judged("AppRole", policies, read_policy(path), policies == read_policy(path), AGAIN)
    unlimited = role["secret_id_num_uses"] == 0 and role["secret_id_ttl"] == 0
    yield judged(
        "AppRole's secret ids",
        f"uses {role['secret_id_num_uses']}, ttl {role['secret_id_ttl']}",
        "uses 0, ttl 0: no limit",
        unlimited,
        AGAIN,
    )
    reads = facts["reads"]
    yield judged(
        f"AppRole reads {MOUNT}/data/{path}/argocd",
        reads,
        "it may",
        not reads.startswith("refused"),
        AGAIN,
    )
    yield judged(
        "AppRole writes", "it may" if facts["role_writes"] else "refused", "refused",
        not facts["role_writes"], AGAIN,
    )  # fmt: skip
    token = facts["token"]
    yield judged(
        "write token writes", "it may" if token["writes"] else token.get("error", "refused"),
        "it may", bool(token["writes"]), AGAIN,
    )  # fmt: skip
    yield judged(
        "write token lives",
        f"{token['ttl'] // 86400} of {token['made_for'] // 86400} days",
        "made for 3650 days, more than 7 of them left",
        token["made_for"] >= TOKEN_SECONDS and token["ttl"] > TOKEN_LEFT_SECONDS,
        f"{AGAIN}; where it is cut short, max_lease_ttl is",
    )


def site_rows(facts: Facts) -> Iterator[Row]:
    """What the site file settles: ``pods``, ``services`` (networks), ``root_squash``.

    ``root_squash`` is that of the shared volumes; ``None`` where the site has none.
    """
    for what in ("pods", "services"):
        networks = facts[what]
        private = all(_private(network) for network in networks)
        yield judged(
            f"network of {what}",
            ", ".join(networks),
            "within RFC 1918",
            private,
            f"network.{what} in the site file; it cannot be changed on a cluster that stands",
        )
    if facts["root_squash"] is not None:
        yield judged(
            "root on shared volumes",
            "mapped to nobody" if facts["root_squash"] else "is root",
            "is root, which makes the users' homes",
            not facts["root_squash"],
            "shared_storage.root_squash: false and a server that allows it; with homes that are"
            " made beforehand, their parents 0711 or wider, run the installer by hand (README.md)",
        )


def trust_row(issuer: Issuer) -> Row:
    """Whether stock containers trust what ``letsencrypt-dns`` issues."""
    acme = issuer.acme
    if acme is None:
        found = "the site's own authority" if issuer.ca is not None else "Vault's authority"
    else:
        found = acme.directory + (" (with an authority of its own)" if acme.ca else "")
        found += ", by HTTP" if acme.http else ""
    public = acme is not None and acme.ca is None and "staging" not in acme.directory
    # By HTTP it would have to get in from outside, where the platform's name may lead nowhere.
    by_dns = acme is not None and acme.http is None
    return judged(
        f"who signs for {ISSUER}",
        found,
        "an authority that stock Debian, Alpine and CentOS trust, by dns-01",
        public and by_dns,
        f"an ACME directory of such a one in cert_manager.issuers.{ISSUER}.acme, with dns or"
        " provider instead of http; or take cert_manager out of the site file, and give a"
        " certificate of your own by static.yaml",
    )


def machine_rows(without_nfs: Sequence[str], silent: Sequence[str]) -> Iterator[Row]:
    """Whether every machine can mount homes: names of those that cannot, or do not answer."""
    said = [f"not on {', '.join(without_nfs)}"] if without_nfs else []
    said += [f"no answer from {', '.join(silent)}"] if silent else []
    yield judged(
        f"package {NFS_CLIENT}",
        "; ".join(said) or "on every machine",
        "on every machine: volumes of users are mounted there",
        not said,
        f"machine.packages: [{NFS_CLIENT}] in the site file, then provision up",
    )


def cluster_rows(facts: Facts) -> Iterator[Row]:
    """What the API tells, from :func:`provision.phalanx.clusterside.facts`."""
    versions = sorted(set(facts["versions"]))
    recent = bool(versions) and all(_version(text) >= KUBERNETES for text in versions)
    yield judged("Kubernetes", ", ".join(versions) or "no machine", "1.30 or newer", recent,
               "kubernetes.version in the site file, then provision up")  # fmt: skip
    built = sorted(set(facts["architectures"]))
    yield judged("architecture", ", ".join(built) or "no machine", "amd64, which images are for",
                 built == ["amd64"], "machines of that kind alone in the site file")  # fmt: skip
    for what, key, wanted in (
        ("cluster's domain", "clusterDomain", "cluster.local"),
        ("nodeStatusMaxImages", "nodeStatusMaxImages", "-1"),
    ):
        found = sorted({str(run.get(key, "unknown")) for run in facts["kubelet"].values()})
        yield judged(what, ", ".join(found), wanted, found == [wanted], UP)
    classes: Mapping[str, bool] = facts["classes"]
    defaults = sorted(name for name, default in classes.items() if default)
    yield judged("default StorageClass", ", ".join(defaults) or "none", "exactly one",
               len(defaults) == 1, "local_storage in the site file, then provision up")  # fmt: skip
    named = IN_CLUSTER_CLASS in classes
    instead = f"none; the values name {defaults[0]}" if len(defaults) == 1 else "none"
    yield judged(
        f"StorageClass {IN_CLUSTER_CLASS}",
        "there" if named else instead,
        "there, or another named in the values",
        named or len(defaults) == 1,
        "local_storage in the site file, then provision up",
    )
    ingress = ", ".join(sorted(facts["ingress_classes"]))
    yield judged("IngressClass", ingress or "none", "none but Phalanx's own nginx",
               not ingress or (ingress == "nginx" and facts["has_ingress"]),
               f"kubectl delete ingressclass {ingress}, and what serves it")  # fmt: skip
    takers = ", ".join(sorted(facts["web_takers"]))
    yield judged("ports 80 and 443", takers or "free", "free, or Phalanx's ingress-nginx",
               not takers, "give it another port, or take it out")  # fmt: skip
    managers: Sequence[str] = facts["cert_managers"]
    owners = len(managers)
    owner = ", ".join(managers) or "none"
    wanted = "one, this site's" if facts["owned"] else "at most one; Phalanx's own is switched off"
    good = owners == 1 if facts["owned"] else owners <= 1
    yield judged("cert-manager", owner, wanted, good, "keep one of them; this site's: provision up")
    if facts["owned"]:
        state = facts["issuers"].get(ISSUER, "missing")
        yield judged(f"ClusterIssuer {ISSUER}", state, "Ready", state == "Ready",
                   f"kubectl describe clusterissuer {ISSUER}")  # fmt: skip


def name_rows(
    host: str, address: str, outside: Sequence[str], inside: Sequence[str]
) -> Iterator[Row]:
    """Whether the public name leads to the ingress, for the controller and for pods."""
    for place, found in (("outside", outside), ("inside", inside)):
        yield judged(
            f"{host} {place}",
            ", ".join(found) or "no such name",
            address,
            list(found) == [address],
            f"an A record {host} {address} where pods and people look (dns.records)",
        )


def proof_rows(proofs: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """What ``provision verify`` proved: ``proof``, ``proven`` and ``detail`` each."""
    for proof in proofs:
        yield judged(proof["proof"], proof["detail"], "proven", proof["proven"], "provision verify")


def judged(what: str, found: str, wanted: str, good: bool, fix: str) -> Row:
    """A row; the fix is told where it is needed."""
    return Row(what, found, wanted, good, "" if good else fix)


def _private(text: str) -> bool:
    network = ip_network(text)
    return any(
        network.version == known.version and network.subnet_of(known)  # type: ignore[arg-type]
        for known in RFC_1918
    )


def _version(text: str) -> tuple[int, int]:
    major, minor, *_ = text.removeprefix("v").split(".")
    return int(major), int(minor)
