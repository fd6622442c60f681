"""Names of the site: served by two machines, kept, and changed by others who hold a key."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from provision.adapters.onmachine.dns import ask
from provision.phases.dns import DnsPhase, key_secret, servers
from provision.secrets import SecretStore
from tests.lab.machines import CommandError
from tests.lab.waiting import wait_until
from tests.lab.workload import NAMESPACE

if TYPE_CHECKING:
    from provision.phase import Context
    from provision.site import Site
    from tests.lab.machines import Lab, Machine
    from tests.lab.workload import Workload

pytestmark = pytest.mark.services

CHALLENGE = "_acme-challenge.data"


@pytest.fixture
def site(context: Context) -> Site:
    return context.site


@pytest.fixture
def zone(site: Site) -> str:
    return f"{site.dns.zone}."  # type: ignore[attr-defined]


@pytest.fixture
def hosts(lab: Lab, site: Site) -> list[Machine]:
    """The machines that serve; the first takes changes."""
    return [lab.machines[name] for name in servers(site)]


@pytest.fixture
def at(hosts: list[Machine]) -> list[str]:
    """Where the servers are, in the same order."""
    return [f"{machine.address}:53" for machine in hosts]


@pytest.fixture
def secrets(lab: Lab) -> SecretStore:
    return SecretStore(lab.state / "secrets")


@pytest.fixture(autouse=True)
def challenge_gone(hosts: list[Machine], zone: str, secrets: SecretStore) -> Iterator[None]:
    yield
    update(hosts[0], zone, f"del {CHALLENGE}.{zone} TXT", key=("acme", secrets))


def update(
    server: Machine, zone: str, *lines: str, key: tuple[str, SecretStore] | None = None
) -> str:
    """Send a dynamic update to a server, from the machine itself; what was printed."""
    script = [f"server {server.address} 53", f"zone {zone}", *lines, "send", "quit"]
    if key is not None:
        name, store = key
        script.insert(0, f"key hmac-sha256:{name} {store.read(key_secret(name)).decode()}")
    return server.run("knsupdate 2>&1", stdin="\n".join(script) + "\n")


def values(server: str, name: str, kind: str = "A") -> list[str]:
    question = f"{server} {name} {kind}"
    return list(ask([question])[question]["values"])


def from_pod(workload: Workload, node: str, name: str) -> str:
    pod = workload.pods("client")[node]
    printed = workload.lab.kubectl("-n", NAMESPACE, "exec", pod, "--", "nslookup", name)
    return printed.split("Name:")[-1]


def has_certificate_for(lab: Lab, name: str) -> bool:
    address, _, port = lab.endpoint.rpartition(":")
    context = ssl.create_default_context(cafile=lab.state / "secrets" / "kubernetes" / "ca.crt")
    with (
        socket.create_connection((address, int(port)), timeout=20) as connection,
        context.wrap_socket(connection, server_hostname=name),
    ):
        return True


def test_names_resolve_outside_and_in_pods(
    lab: Lab, at: list[str], zone: str, site: Site, workload: Workload
) -> None:
    for listed in DnsPhase().records(site).values():
        for record in listed:
            for server in at:
                assert set(values(server, record.name, record.type)) == set(record.values)
    [address] = values(at[0], f"api.{zone}")
    assert has_certificate_for(lab, f"api.{zone.rstrip('.')}")
    for node in workload.lab.machines:
        assert address in from_pod(workload, node, f"api.{zone}")


def test_others_records_survive_and_a_damaged_one_is_named_and_restored(
    lab: Lab, hosts: list[Machine], at: list[str], zone: str, secrets: SecretStore
) -> None:
    right, [data] = values(at[0], f"api.{zone}"), values(at[0], f"data.{zone}")
    # A copy passes the update on to the server that takes changes.
    update(hosts[1], zone, f"add {CHALLENGE}.{zone} 60 TXT token", key=("acme", secrets))
    by_hand = [f"del api.{zone} A", f"add api.{zone} 60 A 192.0.2.66", f"del data.{zone}"]
    update(hosts[0], zone, *by_hand, key=("provision", secrets))
    wait_until("the copy has it", lambda: values(at[1], f"api.{zone}") == ["192.0.2.66"], 30)

    planned = json.loads(lab.provision("plan", "--json", expect=2))["phases"]
    assert {name for name, item in planned.items() if item["decision"] == "run"} == {"dns"}
    assert planned["dns"]["reasons"][hosts[0].name] == [
        f"record api.{zone} A is 192.0.2.66, wanted {right[0]}",
        f"record data.{zone} A is missing, wanted {data}",
    ]
    lab.provision("up")
    lab.provision("plan", expect=0)
    for server in at:
        assert values(server, f"api.{zone}") == right
        assert values(server, f"{CHALLENGE}.{zone}", "TXT") == ["token"]


def test_who_has_no_key_or_not_the_right_one_changes_nothing(
    hosts: list[Machine], at: list[str], zone: str, secrets: SecretStore
) -> None:
    for key in (None, ("acme", secrets)):
        with pytest.raises(CommandError):
            update(hosts[0], zone, f"add api.{zone} 60 A 192.0.2.66", key=key)
    assert "192.0.2.66" not in values(at[0], f"api.{zone}")


@pytest.mark.parametrize("which", [0, 1])
def test_one_server_is_enough(
    hosts: list[Machine], at: list[str], zone: str, workload: Workload, which: int
) -> None:
    hosts[which].run("systemctl stop knot.service")
    try:
        # Names that cluster DNS has not asked for yet, so that no cache answers.
        for number, node in enumerate(workload.lab.machines):
            assert "NXDOMAIN" in absent_from_pod(workload, node, f"none-{which}-{number}.{zone}")
        assert values(at[1 - which], f"api.{zone}")
    finally:
        hosts[which].run("systemctl start knot.service")


def absent_from_pod(workload: Workload, node: str, name: str) -> str:
    pod = workload.pods("client")[node]
    script = f"nslookup {name} 2>&1 || true"
    return workload.lab.kubectl("-n", NAMESPACE, "exec", pod, "--", "sh", "-c", script)


def test_a_server_that_lost_its_zones_brings_them_back(
    lab: Lab, hosts: list[Machine], at: list[str], zone: str, secrets: SecretStore
) -> None:
    update(hosts[0], zone, f"add {CHALLENGE}.{zone} 60 TXT kept", key=("acme", secrets))
    wait_until(
        "the copy has it", lambda: values(at[1], f"{CHALLENGE}.{zone}", "TXT") == ["kept"], 30
    )
    hosts[0].run("systemctl stop knot.service; rm -rf /var/lib/knot/provision")
    lab.provision("up")
    assert values(at[0], f"{CHALLENGE}.{zone}", "TXT") == ["kept"]
    lab.provision("plan", expect=0)


def test_keys_are_where_they_must_be_and_nowhere_else(
    lab: Lab, hosts: list[Machine], secrets: SecretStore
) -> None:
    for machine in hosts:
        shown = machine.run("stat -c '%a %U:%G' /etc/knot/provision-keys.conf")
        assert shown.strip() == "640 root:knot"
    keys = [secrets.read(key_secret(name)).decode() for name in ("provision", "transfer", "acme")]
    for machine in lab.machines.values():
        told = machine.run("journalctl --no-pager; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ")
        for key in keys:
            assert key not in told
    for path in (lab.state / "runs").glob("*.jsonl"):
        for key in keys:
            assert key not in path.read_text()
