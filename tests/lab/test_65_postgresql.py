"""Databases outside the cluster: clients, a replica, damage, ways back, a primary that dies."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import yaml

from provision.adapters.vault import Vault, VaultReader
from provision.app import read_site
from provision.errors import ExitCode
from provision.phases.postgresql import vault_secrets
from provision.postgresql.names import password_of, slot_of
from provision.secrets import SecretStore
from tests.lab.machines import CommandError
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab.machines import Lab, Machine

pytestmark = pytest.mark.services

UP = ("up", "--no-verify", "--only", "machine", "--only", "dns", "--only", "postgresql")
PLAN = ("plan", "--only", "postgresql")
SECRET = "secret/postgresql/app"
RETIRE = """
systemctl disable --now provision-postgresql.service provision-postgresql-backup.timer
rm -r /var/lib/postgresql/provision /var/lib/provision/component-postgresql.json
"""
"""What docs/components/postgresql.md has a machine that is none of them any more go through."""
DATABASES = {
    "roles": {"app": {}, "reader": {}},
    "databases": {"app": {"owner": "app", "users": ["reader"], "extensions": ["pg_trgm"]}},
    "backups": {"log_seconds": 10},
}


@pytest.fixture(scope="module")
def two(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab with databases on its first two machines."""
    return with_primary(lab, tmp_path_factory.mktemp("site"), 0)


def with_primary(lab: Lab, folder: Path, which: int, **changes: object) -> Lab:
    """The lab with the primary on one of its first two machines, and the replica on the other."""
    names = list(lab.machines)[:2]
    network = yaml.safe_load(lab.site_file.read_text())["network"]
    servers = {"primary": names[which], "replica": names[1 - which]}
    networks = [network["machines"], network["pods"]]
    settings = {**servers, "networks": networks, **DATABASES, **changes}
    return lab.changed(folder, lambda site: site.update(postgresql=settings))


@pytest.fixture
def primary(two: Lab) -> Machine:
    return list(two.machines.values())[0]  # noqa: RUF015 - beside the next one


@pytest.fixture
def replica(two: Lab) -> Machine:
    return list(two.machines.values())[1]


def secret(lab: Lab, name: str) -> str:
    return SecretStore(lab.state / "secrets").read(name).decode()


def client(
    lab: Lab,
    on: Machine,
    host: str,
    statement: str,
    role: str = "app",
    password: str = "",
    **but: str,
) -> str:
    """What a stock client with full verification prints."""
    options = {
        "host": host,
        # Verified as it is named; not every machine's name is known to every machine.
        "hostaddr": lab.machines[host].address if host in lab.machines else host,
        "dbname": "app",
        "user": role,
        "sslmode": "verify-full",
        "sslrootcert": "/etc/provision/ca.crt",
        **but,
    }
    text = " ".join(f"{name}={value}" for name, value in options.items())
    command = f'PGPASSWORD=$(cat) psql --no-align --tuples-only "{text}" --command "{statement}"'
    return on.run(command, stdin=password or secret(lab, password_of(role))).strip()


def admin(on: Machine, script: str, database: str = "app") -> str:
    """What the system's user postgres gets on the machine itself."""
    return on.run(
        f"cd / && runuser -u postgres -- psql -h /run/postgresql -qAt -d {database}", stdin=script
    ).strip()


def test_clients_use_them_by_name_and_by_address(
    two: Lab, primary: Machine, replica: Machine, report: Callable[[str], None]
) -> None:
    began = time.monotonic()
    two.provision(*UP)
    report(f"databases with a replica {time.monotonic() - began:.1f} s after they were asked for")
    began = time.monotonic()
    assert "nothing was done" in two.provision(*UP)
    report(f"and nothing is to be done in {time.monotonic() - began:.1f} s")
    client(two, replica, primary.address, "create table kept as select 'here' as word")
    client(two, replica, primary.name, "grant select on kept to reader")
    wait_until(
        "the replica has it",
        lambda: client(two, primary, replica.name, "select word from kept", "reader") == "here",
        30,
    )
    assert admin(primary, "show data_checksums") == "on"
    assert "databases" in two.provision("verify", "--only", "databases")


def test_who_is_not_meant_does_not_come_in(two: Lab, primary: Machine, replica: Machine) -> None:
    for but in (
        {"sslmode": "disable"},
        {"dbname": "postgres"},
        {"dbname": "provision_verify"},
        {"user": "postgres"},
        {"user": "reader"},  # with the password of another
        {"user": "provision_replication"},
    ):
        with pytest.raises(CommandError):
            client(two, replica, primary.address, "select 1", **but)
    with pytest.raises(CommandError):
        client(two, replica, primary.name, "insert into kept values ('x')", "reader")
    with pytest.raises(CommandError):
        client(two, primary, replica.name, "insert into kept values ('x')")


def vault_at_work(lab: Lab) -> Vault:
    """The lab's Vault, logged in as ``provision`` does."""
    site = read_site(lab.site_file).site
    reader = VaultReader(SecretStore(lab.state / "secrets"))
    return reader.active(vault_secrets(site)["members"].values())


def test_the_password_in_vault_is_let_in(two: Lab, primary: Machine, replica: Machine) -> None:
    kept = vault_at_work(two).secret(SECRET) or {}
    assert (kept["username"], kept["databases"], kept["port"]) == ("app", "app", "5432")
    there = {"hostaddr": primary.address, "password": kept["password"]}
    assert client(two, replica, kept["host"], "select word from kept", **there) == "here"
    said = two.provision("verify", "--only", "database passwords")
    assert f"a pod is let in at {kept['host']} with the passwords in Vault of app, reader" in said


def test_a_password_is_renewed(two: Lab, primary: Machine, replica: Machine) -> None:
    before = secret(two, password_of("app"))
    two.provision("secrets", "renew", password_of("app"))
    said = two.provision(*PLAN, expect=2)
    assert "verifiers.json is changed" in said
    assert f"secret {SECRET} of Vault is another, wanted kept" in said
    two.provision(*UP)
    two.provision(*PLAN, expect=0)
    assert client(two, replica, primary.address, "select word from kept") == "here"
    assert (vault_at_work(two).secret(SECRET) or {})["password"] == secret(two, password_of("app"))
    with pytest.raises(CommandError, match="password authentication failed"):
        client(two, replica, primary.address, "select word from kept", password=before)


def test_a_parameter_that_the_server_does_not_know_changes_nothing(
    two: Lab, primary: Machine, tmp_path: Path
) -> None:
    wrong = with_primary(two, tmp_path, 0, parameters={"shared_bufers": "64MB"})
    said = wrong.provision(*UP, expect=None)
    assert 'unrecognized configuration parameter "shared_bufers"' in said
    primary.run("systemctl restart provision-postgresql")
    two.provision(*UP)
    two.provision(*PLAN, expect=0)


def test_what_is_changed_by_hand_is_named_and_put_right(
    two: Lab, primary: Machine, replica: Machine
) -> None:
    replica.run("systemctl stop provision-postgresql")
    started = admin(primary, "select pg_postmaster_start_time()")
    admin(
        primary,
        f"""
        alter role app superuser password 'mine';
        grant pg_write_all_data to reader;
        alter system set work_mem = '77MB';
        select pg_drop_replication_slot('{slot_of(replica.name)}');
        grant connect on database app to public;
        drop extension pg_trgm;
        """,
    )
    primary.run("echo 'host all all 0.0.0.0/0 trust' >> /etc/provision/postgresql/pg_hba.conf")
    reasons = json.loads(two.provision(*PLAN, "--json", expect=2))["phases"]["postgresql"][
        "reasons"
    ]
    found = "\n".join(reasons[primary.name])
    for part in (
        "pg_hba.conf is changed",
        "setting work_mem was changed by ALTER SYSTEM",
        "role app has superuser yes, wanted no",
        "role app has another password",
        "role reader is a member of pg_write_all_data, wanted not",
        f"replication slot {slot_of(replica.name)} is missing, wanted present",
        "database app lets everybody connect",
        "extension pg_trgm of database app is missing",
    ):
        assert part in found
    assert "unit provision-postgresql.service is inactive, wanted active" in reasons[replica.name]
    two.provision(*UP)
    two.provision(*PLAN, expect=0)
    assert client(two, replica, primary.address, "select word from kept") == "here"
    # Nothing else was done: the server that others use was not started anew for it.
    assert admin(primary, "select pg_postmaster_start_time()") == started


def test_a_replica_that_was_away_for_too_long_is_made_anew(
    two: Lab, primary: Machine, replica: Machine, tmp_path: Path
) -> None:
    little = with_primary(two, tmp_path, 0, max_slot_size="16MB")
    little.provision(*UP)
    replica.run("systemctl stop provision-postgresql")
    fill = "create table filler as select 1 as x; select pg_switch_wal(); drop table filler;"
    admin(primary, f"{fill * 6} checkpoint;")
    slot = slot_of(replica.name)
    assert admin(primary, "select wal_status from pg_replication_slots") == "lost"
    said = little.provision(*PLAN, expect=2)
    assert f"replication slot {slot} has lost its place in the log, wanted made anew" in said
    little.provision(*UP)
    little.provision(*PLAN, expect=0)
    assert admin(replica, "select word from kept") == "here"
    two.provision(*UP)


def test_another_machine_becomes_the_replica(
    two: Lab, primary: Machine, replica: Machine, tmp_path: Path
) -> None:
    third = list(two.machines.values())[2]
    replica.run("systemctl stop provision-postgresql")
    other = with_primary(two, tmp_path, 0, replica=third.name)
    other.provision(*UP)
    other.provision(*PLAN, expect=0)
    assert client(two, primary, third.address, "select word from kept") == "here"
    slots = admin(primary, "select slot_name from pg_replication_slots")
    assert slots == slot_of(third.name)
    # And back, while the third one still follows.
    two.provision(*UP)
    two.provision(*PLAN, expect=0)
    assert admin(replica, "select word from kept") == "here"
    assert admin(primary, "select slot_name from pg_replication_slots") == slot_of(replica.name)
    third.run(RETIRE)


def test_a_replica_that_lost_its_disk_is_made_anew(two: Lab, replica: Machine) -> None:
    replica.run("systemctl stop provision-postgresql; rm -r /var/lib/postgresql/provision/data")
    two.provision(*UP)
    two.provision(*PLAN, expect=0)
    assert admin(replica, "select word from kept") == "here"


def test_the_way_back_to_a_moment(two: Lab, primary: Machine, replica: Machine) -> None:
    two.provision("postgresql", "backup")
    admin(primary, "insert into kept values ('wanted')")
    time.sleep(1)
    moment = datetime.now(UTC).isoformat()
    time.sleep(1)
    admin(primary, "truncate kept")
    refused = two.provision("postgresql", "restore", "--to", moment, expect=None)
    assert "holds databases, and nothing was touched" in refused
    two.provision("postgresql", "restore", "--to", moment, "--overwrite", "--yes")
    assert admin(primary, "select word from kept").split() == ["here", "wanted"]
    assert "data-aside-" in two.provision("postgresql", "status", expect=None)
    two.provision(*UP)
    two.provision(*PLAN, expect=0)
    assert admin(replica, "select word from kept").split() == ["here", "wanted"]
    # And to the very end, which is what the first way back left.
    admin(primary, "insert into kept values ('last')")
    two.provision("postgresql", "restore", "--overwrite", "--yes")
    assert admin(primary, "select word from kept").split() == ["here", "wanted", "last"]
    two.provision(*UP)


def test_a_restoration_that_cannot_be_leaves_everything_as_it_is(
    two: Lab, primary: Machine
) -> None:
    later = "2999-01-01T00:00:00"
    said = two.provision(
        "postgresql", "restore", "--to", later, "--overwrite", "--yes", expect=None
    )
    assert "what was there was left as it is" in said
    assert admin(primary, "select count(*) from kept") == "3"
    two.provision(*PLAN, expect=0)


def test_passwords_are_nowhere(two: Lab) -> None:
    values = [secret(two, password_of(role)) for role in ("app", "reader", "provision_verify")]
    shown = two.provision(*PLAN, "--json")
    for machine in list(two.machines.values())[:2]:
        shown += machine.run(
            "journalctl --no-pager; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ;"
            " grep -rhI . /var/log /etc/provision/postgresql 2>/dev/null || true"
        )
    shown += "".join(path.read_text() for path in (two.state / "runs").glob("*.jsonl"))
    for value in values:
        assert value not in shown


def test_a_primary_that_dies(
    two: Lab, primary: Machine, replica: Machine, tmp_path: Path, report: Callable[[str], None]
) -> None:
    primary.kill()
    try:
        said = two.provision("postgresql", "status", expect=ExitCode.UNHEALTHY)
        assert "provision postgresql promote" in said
        assert admin(replica, "select count(*) from kept") == "3"
        other = with_primary(two, tmp_path, 1)
        began = time.monotonic()
        other.provision("postgresql", "promote", "--yes")
        client(two, replica, replica.address, "insert into kept values ('afterwards')")
        report(f"the replica takes writes {time.monotonic() - began:.1f} s after it was told to")
    finally:
        primary.start()
    # Nothing is undone by who did not change the site file.
    wait_until("it is back", lambda: "was promoted" in two.provision(*PLAN, expect=None), 60)
    other.provision(*UP)
    other.provision(*PLAN, expect=0)
    assert admin(primary, "select count(*) from kept") == "4"
    assert admin(primary, "select pg_is_in_recovery()") == "t"
    # And back again, both running: nothing is copied, nothing is lost.
    two.provision("postgresql", "promote", "--yes")
    two.provision(*UP)
    two.provision(*PLAN, expect=0)
    assert admin(replica, "select count(*) from kept") == "4"


def test_passwords_are_kept_in_vault(two: Lab) -> None:
    vault_at_work(two).keep_secret(SECRET, {"password": "mine", "note": "theirs"})
    said = two.provision(*PLAN, expect=2)
    assert f"secret {SECRET} of Vault is another, wanted kept" in said
    two.provision(*UP)
    kept = vault_at_work(two).secret(SECRET) or {}
    assert kept["password"] == secret(two, password_of("app"))
    assert (kept["note"], kept["databases"]) == ("theirs", "app")


def test_they_are_taken_off_only_when_they_are_named(
    lab: Lab, primary: Machine, tmp_path: Path, report: Callable[[str], None]
) -> None:
    without = lab.changed(tmp_path, lambda site: site.pop("postgresql"))
    refused = without.provision("up", "--no-verify", "--prune", expect=ExitCode.FINDINGS)
    assert "--prune --with-data postgresql" in refused
    assert admin(primary, "select count(*) from kept") == "4"
    without.provision("up", "--no-verify", "--prune", "--with-data", "postgresql")
    assert primary.run("ls /var/backups/postgresql") != ""
    assert "data" not in primary.run("ls /var/lib/postgresql/provision 2>/dev/null || true")
    for machine in list(lab.machines.values())[:2]:
        machine.run("rm -rf /var/backups/postgresql")
    began = time.monotonic()
    lab.provision("up", "--no-verify")
    report(f"databases made from nothing by a whole up in {time.monotonic() - began:.1f} s")
    assert "nothing was done" in lab.provision("up", "--no-verify")
    lab.provision("verify", "--only", "databases", "--only", "database passwords")
