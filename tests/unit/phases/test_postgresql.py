"""Settings of ``postgresql`` that cannot work are told, and what its files hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.app import read_site
from provision.errors import ConfigError
from provision.phases.postgresql import PostgresqlPhase, server_reasons
from provision.postgresql.names import VERIFIERS, password_of, slot_of, verifier_of
from provision.scram import verifies
from provision.secrets import SecretStore
from tests.support.cases import SITE, make_context, make_site, overlay
from tests.support.postgresql import as_wanted

TWO = {"primary": "n1", "replica": "n2"}


def problems(folder: Path, **settings: Any) -> str:
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(overlay(SITE, {"postgresql": {"primary": "n1", **settings}})))
    with pytest.raises(ConfigError) as caught:
        read_site(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"primary": "n9"}, "postgresql.primary names n9, which is none of hosts"),
        ({"replica": "n9"}, "postgresql.replica names n9, which is none of hosts"),
        ({"replica": "n1"}, "postgresql.replica is n1, which is the primary already"),
        ({"roles": {"postgres": {}}}, "postgresql.roles.postgres is a name that PostgreSQL"),
        ({"roles": {"pg_mine": {}}}, "postgresql.roles.pg_mine is a name that PostgreSQL"),
        ({"roles": {"Mine": {}}}, "postgresql.roles.Mine"),
        ({"databases": {"app": {"owner": "app"}}}, "app.owner names app, which is none of"),
        (
            {"roles": {"app": {}}, "databases": {"app": {"owner": "app", "users": ["me"]}}},
            "postgresql.databases.app.users.0 names me",
        ),
        ({"parameters": {"port": 1}}, "postgresql.parameters.port follows from other settings"),
        ({"max_slot_size": "much"}, "postgresql.max_slot_size"),
        ({"networks": ["10.0.0.1/8"]}, "postgresql.networks"),
        ({"parameters": {"include": "x"}}, "postgresql.parameters.include follows from"),
        ({"parameters": {"Port": 1}}, "postgresql.parameters.Port"),
        ({"directory": "/data", "backups": {"directory": "/data/backups"}}, "they must be apart"),
        ({"directory": "/data", "backups": {"directory": "/data"}}, "they must be apart"),
        ({"directory": "/a/b", "backups": {"directory": "/a"}}, "they must be apart"),
        ({"directory": "/var/lib"}, "postgresql.directory /var/lib is a folder of the system"),
        ({"backups": {"directory": "/mnt"}}, "backups.directory /mnt is a folder of the system"),
        ({"directory": "/srv/../etc"}, "postgresql.directory"),
        ({"directory": "data"}, "postgresql.directory"),
        ({"backups": {"keep": 0}}, "postgresql.backups.keep"),
        ({"backups": {"log_seconds": 1}}, "postgresql.backups.log_seconds"),
        ({"backups": {"calendar": "daily\nUnit=x"}}, "postgresql.backups.calendar"),
        ({"port": 80}, "postgresql.port"),
        ({"max_connections": 1}, "postgresql.max_connections"),
        ({"roles": {"app": {"connections": -2}}}, "postgresql.roles.app.connections"),
        ({"roles": {"app": {"vault": "password"}}}, "postgresql.roles.app.vault"),
        ({"roles": {"app": {"password": "mine"}}}, "postgresql.roles.app.password"),
        (
            {"roles": {"app": {"vault": "secret/same"}, "other": {"vault": "secret/same"}}},
            "postgresql.roles has two roles whose password is kept at secret/same",
        ),
        ({"roles": {"app": {"member_of": ["app"]}}}, "member_of.0 names app, which is the role"),
        (
            {"roles": {"app": {"member_of": ["staff"]}}},
            "app.member_of.0 names staff, which is none of postgresql.roles",
        ),
        ({"databases": {"template1": {"owner": "app"}}}, "databases.template1 is a name that"),
        (
            {"roles": {"app": {}}, "databases": {"app": {"owner": "app", "extensions": ["a;b"]}}},
            "postgresql.databases.app.extensions.0",
        ),
    ],
)
def test_what_cannot_work_is_told(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    assert said in problems(tmp_path, **settings)


def rendered(path: str, host: str, **settings: Any) -> str:
    context = make_context(make_site({"postgresql": {**TWO, **settings}}))
    state = PostgresqlPhase().desired(context, host)
    [content] = [file.content for file in state.files if file.path.endswith(path)]
    assert content is not None
    return content


def test_clients_come_in_with_tls_and_a_password_to_their_own_databases_alone() -> None:
    text = rendered(
        "pg_hba.conf",
        "n1",
        networks=["10.1.0.0/16", "fd00::/64"],
        roles={"app": {}, "reader": {}},
        databases={"app": {"owner": "app", "users": ["reader"]}},
    )
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == [
        "local all postgres peer",
        "local replication postgres peer",
        "hostssl replication provision_replication 192.0.2.2/32 cert",
        "hostssl provision_verify provision_verify all scram-sha-256 clientcert=verify-full",
        "hostssl app app,reader 10.1.0.0/16 scram-sha-256",
        "hostssl app app,reader fd00::/64 scram-sha-256",
    ]


def test_without_networks_only_the_machines_and_pods_come_in() -> None:
    text = rendered("pg_hba.conf", "n1", roles={"app": {}}, databases={"app": {"owner": "app"}})
    assert [line.split()[3] for line in text.splitlines() if line.startswith("hostssl app ")] == [
        *(f"192.0.2.{number}/32" for number in (1, 2, 3, 4)),
        "10.244.0.0/16",
    ]


def test_parameters_are_quoted() -> None:
    text = rendered("postgresql.conf", "n1", parameters={"search_path": "a'b", "jit": False})
    assert "search_path = 'a''b'" in text
    assert "jit = 'off'" in text


def test_only_the_replica_is_told_of_a_primary() -> None:
    assert "primary_conninfo" not in rendered("postgresql.conf", "n1")
    text = rendered("postgresql.conf", "n2")
    assert "host=192.0.2.1 port=5432 user=provision_replication" in text
    assert "sslmode=verify-full" in text
    assert "primary_slot_name = 'replica_n2'" in text


def test_a_replication_slot_that_was_dropped_is_named_before_its_replica() -> None:
    site = make_site({"postgresql": TWO})
    found = {host: as_wanted(site, host) for host in ("n1", "n2")}
    found["n1"]["slots"] = {}
    found["n1"]["standbys"] = {}
    assert list(server_reasons(site, "n1", found)) == [
        "replication slot replica_n2 is missing, wanted present"
    ]
    assert list(server_reasons(site, "n2", found)) == ["replica of n1 is absent, wanted streaming"]


def test_a_slot_has_a_name_that_postgresql_takes() -> None:
    assert slot_of("Db-2.example") == "replica_db_2_example"


def test_the_machine_gets_verifiers_and_no_passwords(tmp_path: Path) -> None:
    from provision.plan import phases_of

    site = make_site({"postgresql": {**TWO, "roles": {"app": {}}}})
    specs = [spec for phase in phases_of(site) for spec in phase.secrets(site)]
    store = SecretStore(tmp_path / "secrets", specs=specs, site="unit")
    store.ensure(PostgresqlPhase().secrets(site))
    content = store.read(VERIFIERS)
    verifiers = json.loads(content)
    assert set(verifiers) == {"app", "provision_verify"}
    for role, verifier in verifiers.items():
        password = store.read(password_of(role))
        assert verifies(verifier.encode(), password)
        assert password not in content
    assert store.ensure(PostgresqlPhase().secrets(site)) == []
    store.ensure(specs)
    made = store.renew(password_of("app"))
    assert set(made) == {password_of("app"), verifier_of("app"), VERIFIERS}
    renewed = json.loads(store.read(VERIFIERS))
    assert verifies(renewed["app"].encode(), store.read(password_of("app")))
    assert renewed["provision_verify"] == verifiers["provision_verify"]
    assert store.ensure(PostgresqlPhase().secrets(site)) == []
