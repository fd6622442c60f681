"""Vault outlives its leader, a reboot and the loss of its data, and lets no key out."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.lab.vault import WIPE, admin, leader, read, sealed, secret, write
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lab.machines import Lab

pytestmark = pytest.mark.services

POLICY = "provision-admin"
UNSEAL = "/etc/provision/vault/unseal.cred"


@pytest.fixture(autouse=True)
def _vault_stands(lab: Lab) -> None:
    lab.provision("up", "--no-verify", "--only", "vault")
    lab.provision("vault", "status")


def test_it_holds_what_the_platform_needs(lab: Lab) -> None:
    people = admin(lab)
    mounts = people.sys.list_mounted_secrets_engines()["data"]
    assert mounts["secret/"]["type"] == "kv"
    assert mounts["secret/"]["options"] == {"version": "2"}
    assert "approle/" in people.sys.list_auth_methods()["data"]
    assert "file/" in people.sys.list_enabled_audit_devices()["data"]
    token = people.auth.token.create_orphan(policies=[POLICY], ttl="87600h", no_default_policy=True)
    assert token["auth"]["lease_duration"] == 87600 * 3600
    keys = json.loads(secret(lab, "vault/keys"))
    assert keys["root_token"] == ""
    assert lab.provision("plan", "--only", "vault").count("nothing to do") == 1


def test_the_leader_dies(lab: Lab, report: Callable[[str], None]) -> None:
    write(lab, "before")
    active = leader(lab)
    active.run("systemctl kill --kill-whom=main --signal=KILL vault")
    took = wait_until("Vault takes a write", lambda: write(lab, "after"), seconds=60)
    report(f"Vault takes writes {took:.1f} s after its leader was killed")
    assert took < 15
    wait_until("every member serves", lambda: lab.provision("vault", "status"), seconds=60)
    assert read(lab) == "after"


def test_a_member_that_runs_and_answers_nobody(lab: Lab) -> None:
    active = leader(lab)
    active.run("pkill -STOP -x vault")
    wait_until("another one takes writes", lambda: write(lab, "without it"), seconds=60)
    lab.provision("up", "--no-verify")
    lab.provision("vault", "status")
    assert lab.provision("plan", "--only", "vault").count("nothing to do") == 1


def test_clients_of_the_address_outlive_the_leader(lab: Lab, report: Callable[[str], None]) -> None:
    with _writing(lab) as gaps:
        leader(lab).run("systemctl kill --kill-whom=main --signal=KILL vault")
        wait_until("every member serves", lambda: lab.provision("vault", "status"), seconds=60)
    report(f"Vault's address takes no writes for {max(gaps):.1f} s when the leader is killed")
    assert max(gaps) < 15


def test_clients_of_the_address_outlive_the_leaders_machine(
    lab: Lab, report: Callable[[str], None]
) -> None:
    active = leader(lab)
    with _writing(lab) as gaps:
        active.kill()
        wait_until("another one takes writes", lambda: write(lab, "led", _address(lab)), seconds=60)
    active.start()
    report(f"Vault's address takes no writes for {max(gaps):.1f} s when the leader's machine dies")
    assert max(gaps) < 15
    wait_until("every member serves", lambda: lab.provision("vault", "status"), seconds=120)


def test_a_sealed_member_does_not_hold_the_address(lab: Lab) -> None:
    look = f"ip -oneline address show to {_address(lab)}"
    [holder] = [machine for machine in lab.machines.values() if machine.run(look)]
    holder.run(f"mv {UNSEAL} {UNSEAL}.away && systemctl restart vault")
    wait_until("another machine holds it", lambda: not holder.run(look), seconds=30)
    assert sealed(lab) == [holder.name]
    wait_until("a write at the address", lambda: write(lab, "moved", _address(lab)), seconds=30)
    holder.run(f"mv {UNSEAL}.away {UNSEAL}")
    lab.provision("up", "--no-verify", "--only", "vault")
    assert sealed(lab) == []


def test_all_machines_reboot(lab: Lab, report: Callable[[str], None]) -> None:
    write(lab, "kept")
    for machine in lab.machines.values():
        machine.kill()
    for machine in lab.machines.values():
        machine.start()
    took = wait_until("Vault serves", lambda: lab.provision("vault", "status"), seconds=300)
    report(f"Vault serves by itself {took:.1f} s after all machines were switched on")
    assert read(lab) == "kept"


def test_a_policy_that_was_edited_by_hand(lab: Lab) -> None:
    people = admin(lab)
    people.sys.create_or_update_acl_policy("theirs", 'path "secret/*" { capabilities = ["read"] }')
    people.sys.create_or_update_acl_policy("provision-snapshot", 'path "x" { capabilities = [] }')
    printed = lab.provision("plan", "--only", "vault", expect=2)
    assert "policy provision-snapshot is changed, wanted as the site says" in printed
    lab.provision("up", "--no-verify", "--only", "vault")
    assert "sys/storage" in people.sys.read_acl_policy("provision-snapshot")["data"]["policy"]
    assert "theirs" in people.sys.list_acl_policies()["data"]["keys"]
    lab.provision("plan", "--only", "vault")


def test_roles_that_were_edited_by_hand(lab: Lab, tmp_path: Path) -> None:
    pods = {"service_accounts": ["reader"], "namespaces": ["nights"], "policies": ["default"]}

    def with_roles(site: dict[str, Any]) -> None:
        site["vault"]["approles"] = {"lab": {"policies": ["default"]}}
        site["vault_kubernetes"] = {"roles": {"lab": pods}}

    changed = lab.changed(tmp_path, with_roles)
    only = ("--only", "vault", "--only", "vault_kubernetes")
    changed.provision("up", "--no-verify", *only)
    people = admin(lab)
    people.write_data("auth/approle/role/lab", data={"token_policies": [POLICY]})
    people.write_data("auth/kubernetes/role/lab", data={"token_policies": [POLICY]})
    lab.kubectl("delete", "clusterrolebinding", "provision:vault-clients")
    printed = changed.provision("plan", *only, expect=2)
    edited = f"has token_policies ['{POLICY}'], wanted ['default']"
    assert f"path auth/approle/role/lab {edited}" in printed
    assert f"path auth/kubernetes/role/lab {edited}" in printed
    assert "object ClusterRoleBinding provision:vault-clients is missing" in printed
    changed.provision("up", "--no-verify", *only)
    assert people.read("auth/approle/role/lab")["data"]["token_policies"] == ["default"]
    assert people.read("auth/kubernetes/role/lab")["data"]["token_policies"] == ["default"]
    assert changed.provision("plan", *only).count("nothing to do") == 2


def test_a_pod_reads_a_secret_and_nothing_of_it_stays(lab: Lab) -> None:
    proofs = ("secret by approle", "secret by account")
    told = json.loads(
        lab.provision("verify", "--json", *(word for name in proofs for word in ("--only", name)))
    )
    assert [proof["proven"] for proof in told["proofs"]] == [True, True]
    people = admin(lab)
    for path in (
        "secret/metadata",
        "auth/approle/role",
        "auth/kubernetes/role",
        "sys/policies/acl",
    ):
        listed = (people.list(path) or {"data": {"keys": []}})["data"]["keys"]
        assert not [name for name in listed if name.startswith("provision-verify")], path
    assert "provision-verify" not in lab.kubectl("get", "clusterrolebindings,namespaces")


def test_a_sealed_vault_says_what_to_run_and_stops_nothing(lab: Lab, tmp_path: Path) -> None:
    manual = _with_settings(lab, tmp_path, unseal="manual")
    manual.provision("up", "--no-verify", "--only", "vault")
    for machine in lab.machines.values():
        machine.run("systemctl restart vault")
    wait_until("all are sealed", lambda: len(sealed(lab)) == len(lab.machines), seconds=60)
    printed = manual.provision("plan", "--only", "vault", expect=0)
    assert "unseal it: provision vault unseal" in printed
    printed = manual.provision("up", "--no-verify", "--only", "vault")
    assert "unseal it: provision vault unseal" in printed
    assert "is sealed" in manual.provision("vault", "status", expect=10)
    manual.provision("vault", "unseal")
    wait_until("every member serves", lambda: manual.provision("vault", "status"), seconds=60)
    lab.provision("up", "--no-verify", "--only", "vault")


def test_snapshot_wipe_restore(lab: Lab, tmp_path: Path) -> None:
    write(lab, "in the snapshot")
    snapshot = tmp_path / "vault.snap"
    lab.provision("vault", "snapshot", str(snapshot))
    assert snapshot.stat().st_mode & 0o077 == 0
    write(lab, "after the snapshot")
    lab.provision("vault", "restore", str(snapshot), "--yes")
    assert read(lab) == "in the snapshot"

    for machine in lab.machines.values():
        machine.run(WIPE)
    printed = lab.provision("up", "--no-verify", "--only", "vault")
    assert "provision vault restore FILE" in printed
    assert "systemctl restart vault" in lab.provision("vault", "restore", str(snapshot), "--yes")
    for machine in lab.machines.values():
        machine.run("systemctl restart vault")
    wait_until("every member serves", lambda: lab.provision("vault", "status"), seconds=60)
    lab.provision("up", "--no-verify", "--only", "vault")
    assert read(lab) == "in the snapshot"
    lab.provision("plan", "--only", "vault")


def test_a_machine_takes_snapshots_by_itself(lab: Lab) -> None:
    for machine in lab.machines.values():
        machine.run("systemctl start vault-snapshot")
    taken = leader(lab).run("ls -l /var/lib/vault-snapshots/vault-*.snap")
    assert taken.startswith("-rw------- 1 root root")


def test_no_key_is_anywhere_but_in_the_sites_secrets(lab: Lab, tmp_path: Path) -> None:
    keys = json.loads(secret(lab, "vault/keys"))
    passwords = [
        secret(lab, f"vault/{user}-password") for user in ("provision", "admin", "snapshot")
    ]
    values = [*keys["shares"], *passwords]
    assert all(len(value) > 20 for value in values)
    patterns = "\n".join(values)
    for machine in lab.machines.values():
        found = machine.run(
            "umask 077; cat > /run/patterns;"
            " journalctl --no-pager | grep --fixed-strings --file=/run/patterns --count;"
            " cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null"
            " | grep --text --fixed-strings --file=/run/patterns --count;"
            " grep --recursive --text --fixed-strings --files-with-matches --file=/run/patterns"
            " /var/log /etc /tmp /var/lib/private/vault /var/lib/provision /home /root 2>/dev/null;"
            " rm /run/patterns",
            stdin=patterns,
            check=False,
        )
        assert found.split() == ["0", "0"], machine.name
    for path in lab.state.rglob("*"):
        if path.is_file() and "secrets" not in path.relative_to(lab.state).parts:
            content = path.read_text(errors="replace")
            assert not [True for value in values if value in content], path
    printed = lab.provision("plan", "--json", "--only", "vault")
    assert not [True for value in values if value in printed]


@contextmanager
def _writing(lab: Lab) -> Iterator[list[float]]:
    """A client at the virtual address that writes all the time; seconds between its writes."""
    gaps: list[float] = []
    ended = threading.Event()

    def go_on() -> None:
        last = time.monotonic()
        while not ended.wait(0.2):
            if write(lab, "at the address", _address(lab)):
                gaps.append(time.monotonic() - last)
                last = time.monotonic()
        gaps.append(time.monotonic() - last)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield gaps
    finally:
        ended.set()
        thread.join()


def _address(lab: Lab) -> str:
    return str(yaml.safe_load(lab.site_file.read_text())["vault"]["address"])


def _with_settings(lab: Lab, folder: Path, **settings: Any) -> Lab:
    """The same site with other settings of ``vault``."""
    return lab.changed(folder, lambda site: site["vault"].update(settings))
