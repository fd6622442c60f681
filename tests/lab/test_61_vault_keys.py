"""Another Vault keeps the key of the lab's own; and Vault refuses to be initialised."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import hvac
import pytest
import requests

from provision.app import Application, read_site
from provision.vault.pgp import public_key
from tests.lab.transit import KEY, TransitVault
from tests.lab.vault import WIPE, admin, client, leader, read, secret, write
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.lab.machines import Lab, Machine

pytestmark = pytest.mark.services

CREDENTIAL = "/etc/provision/vault/transit.cred"
IN_MEMORY = "/run/credentials/vault.service/transit-token"
ASIDE = "ls -d /var/lib/private/vault/aside-*"


@pytest.fixture(scope="module")
def emptied(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], None]]:
    """Leaves no member with anything and no keys when it is called; in the end all is as before."""
    snapshot = tmp_path_factory.mktemp("before") / "before.snap"
    lab.provision("up", "--no-verify", "--only", "vault")
    write(lab, "before")
    lab.provision("vault", "snapshot", str(snapshot))
    kept = secret(lab, "vault/keys")

    def empty() -> None:
        _wipe(lab)
        lab.provision("vault", "forget")

    yield empty
    _wipe(lab)
    (lab.state / "secrets" / "vault" / "keys").write_text(f"{kept}\n")
    _bring_back(lab, snapshot)
    assert read(lab) == "before"


@pytest.fixture(scope="module")
def other(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransitVault]:
    """A Vault on the host that keeps a key."""
    folder = tmp_path_factory.mktemp("other")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(lab.state_home))
        built = Application(read_site(lab.site_file).site).bundle.path("vault", "amd64")
    binary = folder / "vault"
    shutil.copyfile(built, binary)
    binary.chmod(0o700)
    running = TransitVault(binary, folder)
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def token(other: TransitVault, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with the token for the other Vault."""
    file = tmp_path_factory.mktemp("token") / "transit-token"
    file.touch(mode=0o600)
    _give(file, other.token())
    return file


@pytest.fixture(scope="module")
def wanted(
    lab: Lab, other: TransitVault, token: Path, tmp_path_factory: pytest.TempPathFactory
) -> Lab:
    """The lab, of whose Vault the other one is to keep the key."""
    transit = {
        "address": other.url,
        "key": KEY,
        "ca": str(other.authority),
        "token": {"file": str(token)},
    }
    return lab.changed(
        tmp_path_factory.mktemp("wanted"),
        lambda site: site["vault"].update(unseal="transit", transit=transit),
    )


@pytest.fixture(scope="module")
def handed_over(wanted: Lab, emptied: Callable[[], None], token: Path, other: TransitVault) -> Lab:
    """The lab with a new Vault whose key the other one keeps; only a token that holds makes it."""
    emptied()
    good = token.read_text().strip()
    _give(token, "hvs.no-token-of-the-other-vault")
    printed = wanted.provision("up", "--no-verify", "--only", "vault", expect=8)
    assert f"the Vault that keeps the key ({other.url}) refuses" in printed
    assert "permission denied" in printed
    assert "its token must be allowed to update" in printed
    for machine in wanted.machines.values():
        assert machine.run(f"ls {CREDENTIAL} 2>/dev/null", check=False) == ""
        assert "seal" not in machine.read("/etc/provision/vault/vault.hcl")
    _give(token, good)
    wanted.provision("up", "--no-verify", "--only", "vault")
    return wanted


def test_a_vault_that_stands_is_not_handed_over(lab: Lab, wanted: Lab) -> None:
    lab.provision("up", "--no-verify", "--only", "vault")
    before = _started(lab)
    assert "a migration of its seal" in wanted.provision("plan", "--only", "vault", expect=5)
    assert "a migration of its seal" in wanted.provision(
        "up", "--no-verify", "--only", "vault", expect=5
    )
    assert _started(lab) == before
    assert lab.provision("plan", "--only", "vault").count("nothing to do") == 1


def test_vault_refuses_to_be_initialised(
    lab: Lab, emptied: Callable[[], None], tmp_path: Path
) -> None:
    """Its key to encrypt with has ended, which nobody but Vault looks at."""
    emptied()
    key = _ended_key(tmp_path)
    settings = {"unseal": "manual", "pgp_keys": [str(key)], "shares": 1, "threshold": 1}
    refused = lab.changed(tmp_path, lambda site: site["vault"].update(settings))
    for _ in range(2):
        printed = refused.provision("up", "--no-verify", "--only", "vault", expect=8)
        assert "no valid encryption keys" in printed
        assert "already has state" not in printed
    lab.provision("up", "--no-verify", "--only", "vault")
    lab.provision("vault", "status")
    keys = json.loads(secret(lab, "vault/keys"))
    assert (len(keys["shares"]), keys["root_token"]) == (5, "")
    aside = {machine.name: machine.run(ASIDE, check=False) for machine in lab.machines.values()}
    assert [name for name, found in aside.items() if found] == ["n1"]
    assert len(aside["n1"].split()) == 2


def test_a_member_that_was_stopped_on_its_way_to_the_others(lab: Lab, tmp_path: Path) -> None:
    standby = _standby(lab)
    standby.run(WIPE)
    key = public_key(_ended_key(tmp_path))
    with pytest.raises(hvac.exceptions.InvalidRequest, match="no valid encryption keys"):
        client(lab, standby.name).sys.initialize(1, 1, pgp_keys=[key])
    lab.provision("up", "--no-verify", "--only", "vault")
    lab.provision("vault", "status")


def test_another_vault_keeps_the_key(handed_over: Lab, token: Path) -> None:
    kept = json.loads(secret(handed_over, "vault/keys"))
    assert (kept["recovery"], len(kept["shares"]), kept["root_token"]) == (True, 5, "")
    printed = handed_over.provision("vault", "status")
    assert "with another Vault; the recovery key is in the site's secrets" in printed
    assert handed_over.provision("plan", "--only", "vault").count("nothing to do") == 1
    _no_token_in_the_open(handed_over, [token.read_text().strip(), *kept["shares"]])


def test_all_members_restart_and_serve_by_themselves(
    handed_over: Lab, report: Callable[[str], None]
) -> None:
    assert write(handed_over, "kept")
    for machine in handed_over.machines.values():
        machine.run("systemctl restart vault")
    took = wait_until(
        "every member serves", lambda: handed_over.provision("vault", "status"), seconds=60
    )
    report(f"Vault unseals itself by another one {took:.1f} s after all members restarted")
    assert read(handed_over) == "kept"


def test_a_member_that_was_sealed_on_purpose_is_restarted(handed_over: Lab) -> None:
    admin(handed_over, leader(handed_over).name).sys.seal()
    assert "takes no shares" in handed_over.provision("vault", "unseal", expect=64)
    handed_over.provision("up", "--no-verify", "--only", "vault")
    handed_over.provision("vault", "status")


def test_a_member_that_lost_its_data_joins_again(handed_over: Lab) -> None:
    _standby(handed_over).run(WIPE)
    handed_over.provision("up", "--no-verify", "--only", "vault")
    handed_over.provision("vault", "status")


def test_another_token(handed_over: Lab, other: TransitVault, token: Path) -> None:
    _give(token, other.token())
    printed = handed_over.provision("plan", "--only", "vault", expect=2)
    assert f"credential {CREDENTIAL} is another, wanted the site's" in printed
    handed_over.provision("up", "--no-verify", "--only", "vault")
    assert handed_over.provision("plan", "--only", "vault").count("nothing to do") == 1


def test_who_starts_waits_for_the_other_vault_and_who_runs_goes_on(
    handed_over: Lab, other: TransitVault
) -> None:
    other.stop()
    standby = _standby(handed_over)
    standby.run("systemctl --no-block restart vault")
    wait_until("it is down", lambda: not _answers(handed_over, standby.name), seconds=60)
    assert write(handed_over, "alone")
    printed = handed_over.provision("up", "--no-verify", "--only", "vault", expect=8)
    assert f"the Vault that keeps the key ({other.url}) does not answer" in printed
    other.start()
    wait_until("every member serves", lambda: handed_over.provision("vault", "status"), seconds=120)
    assert read(handed_over) == "alone"


def test_a_snapshot_is_put_back_into_new_members(handed_over: Lab, tmp_path: Path) -> None:
    write(handed_over, "in the snapshot")
    snapshot = tmp_path / "transit.snap"
    handed_over.provision("vault", "snapshot", str(snapshot))
    _wipe(handed_over)
    _bring_back(handed_over, snapshot)
    assert read(handed_over) == "in the snapshot"


def _wipe(lab: Lab) -> None:
    for machine in lab.machines.values():
        machine.run(WIPE)


def _bring_back(lab: Lab, snapshot: Path) -> None:
    printed = lab.provision("up", "--no-verify", "--only", "vault")
    assert "provision vault restore FILE" in printed
    assert "systemctl restart vault" in lab.provision("vault", "restore", str(snapshot), "--yes")
    for machine in lab.machines.values():
        machine.run("systemctl restart vault")
    lab.provision("up", "--no-verify", "--only", "vault")
    wait_until("every member serves", lambda: lab.provision("vault", "status"), seconds=60)


def _give(file: Path, token: str) -> None:
    file.write_text(f"{token}\n")


def _started(lab: Lab) -> list[str]:
    """When each member was started."""
    look = "systemctl show vault --property ActiveEnterTimestamp --property NRestarts"
    return [machine.run(look) for machine in lab.machines.values()]


def _standby(lab: Lab) -> Machine:
    active = leader(lab).name
    return next(machine for machine in lab.machines.values() if machine.name != active)


def _answers(lab: Lab, name: str) -> bool:
    try:
        client(lab, name).sys.read_seal_status()
    except requests.RequestException:
        return False
    return True


def _no_token_in_the_open(lab: Lab, values: list[str]) -> None:
    patterns = "\n".join(values)
    for machine in lab.machines.values():
        found = machine.run(
            "umask 077; cat > /run/patterns;"
            " journalctl --no-pager | grep --fixed-strings --file=/run/patterns --count;"
            " cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null"
            " | grep --text --fixed-strings --file=/run/patterns --count;"
            " grep --recursive --text --fixed-strings --files-with-matches --file=/run/patterns"
            " /var/log /etc /tmp /var/lib/private/vault /var/lib/provision /home /root 2>/dev/null;"
            f" rm /run/patterns; stat --format=%a {CREDENTIAL} {IN_MEMORY}",
            stdin=patterns,
            check=False,
        )
        assert found.split() == ["0", "0", "600", "400"], machine.name
    for path in lab.state.rglob("*"):
        if path.is_file() and "secrets" not in path.relative_to(lab.state).parts:
            content = path.read_text(errors="replace")
            assert not [True for value in values if value in content], path


def _ended_key(folder: Path) -> Path:
    """A public PGP key whose time to be encrypted to is over."""
    home = folder / "gpg"
    home.mkdir(mode=0o700)
    gpg: list[Any] = ["gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", ""]
    long_ago = [*gpg, "--faked-system-time", "20200101T000000"]
    environment = {**os.environ, "GNUPGHOME": str(home)}

    def run(*command: Any) -> str:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    who = "ada@example.org"
    run(*long_ago, "--quick-generate-key", who, "ed25519", "sign", "never")
    listed = run(*gpg, "--with-colons", "--list-keys", who)
    [fingerprint] = [line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr")]
    run(*long_ago, "--quick-add-key", fingerprint, "cv25519", "encr", "30d")
    key = folder / "ada.gpg"
    run(*gpg, "--output", key, "--export", who)
    return key
