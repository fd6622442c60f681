"""The SQL that makes roles and databases as they should be."""

from __future__ import annotations

from typing import Any

from provision.ansible.plugins.module_utils.postgresql import statements

ROLE: dict[str, Any] = {
    "connections": 5,
    "replication": False,
    "member_of": ["pg_monitor"],
    "password": True,
}
DATABASE: dict[str, Any] = {"owner": "app", "users": ["reader"], "extensions": ["pg_trgm"]}


def test_a_role_is_made_with_its_verifier_and_no_rights() -> None:
    made = list(statements.role("app", ROLE, None, "SCRAM-SHA-256$4096:a$b:c"))
    assert made[0] == 'create role "app";'
    assert "nosuperuser nocreatedb nocreaterole nobypassrls noreplication" in made[1]
    assert "connection limit 5" in made[1]
    assert made[1].endswith("password 'SCRAM-SHA-256$4096:a$b:c';")
    [again] = statements.role("app", ROLE, {"login": True}, None)
    assert again.endswith("password null;")


def test_a_membership_that_is_not_wanted_is_taken_back() -> None:
    assert list(statements.memberships("app", ROLE, None)) == ['grant "pg_monitor" to "app";']
    found = {"member_of": ["pg_monitor", "pg_write_all_data"]}
    assert list(statements.memberships("app", ROLE, found)) == [
        'revoke "pg_write_all_data" from "app";'
    ]


def test_a_database_is_open_to_its_owner_and_users_alone() -> None:
    made = list(statements.database("app", DATABASE, None))
    assert made == [
        'create database "app" owner "app";',
        'revoke all on database "app" from public;',
        'grant all on database "app" to "app";',
        'grant connect, temporary on database "app" to "reader";',
    ]
    found = {"owner": "other", "connect": ["public", "other", "app"]}
    changed = list(statements.database("app", DATABASE, found))
    assert changed[0] == 'alter database "app" owner to "app";'
    assert 'revoke all on database "app" from "other";' in changed


def test_slots_of_others_are_left_alone() -> None:
    made = list(statements.slots({"replica_n2"}, {"replica_n3", "theirs"}))
    assert made == [
        "select pg_create_physical_replication_slot('replica_n2', true);",
        (
            "select pg_terminate_backend(active_pid, 5000) from pg_replication_slots"
            " where slot_name = 'replica_n3' and active;"
        ),
        "select pg_drop_replication_slot('replica_n3');",
    ]


def test_nothing_of_a_session_goes_to_the_log() -> None:
    assert "log_statement = 'none'" in statements.SILENTLY
    assert "log_min_error_statement = 'panic'" in statements.SILENTLY
