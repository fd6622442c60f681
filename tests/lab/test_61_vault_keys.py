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

from provision.vault.pgp import public_key
from tests.lab.transit import KEY, TransitVault
from tests.lab.vault import WIPE, client, leader, read, secret, write
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from provision.phase import Context
    from tests.lab.machines import Lab

pytestmark = pytest.mark.services

CREDENTIAL = "/etc/provision/vault/transit.cred"
IN_MEMORY = "/run/credentials/vault.service/transit-token"
ASIDE = "ls -d /var/lib/private/vault/aside-*"


@pytest.fixture
def empty(lab: Lab, tmp_path: Path) -> Iterator[None]:
    """No member holds anything and no keys are kept; afterwards all is as it was."""
    snapshot = tmp_path / "before.snap"
    lab.provision("up", "--no-verify", "--only", "vault")
    write(lab, "before")
    lab.provision("vault", "snapshot", str(snapshot))
    kept = secret(lab, "vault/keys")
    _wipe(lab)
    lab.provision("vault", "forget")
    yield
    _wipe(lab)
    (lab.state / "secrets" / "vault" / "keys").write_text(f"{kept}\n")
    _bring_back(lab, snapshot)
    assert read(lab) == "before"


@pytest.fixture
def other(context: Context, tmp_path: Path) -> Iterator[TransitVault]:
    """A Vault on the host that keeps a key."""
    binary = tmp_path / "vault"
    shutil.copyfile(context.bundle.path("vault", "amd64"), binary)
    binary.chmod(0o700)
    folder = tmp_path / "other"
    folder.mkdir()
    running = TransitVault(binary, folder)
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def handed_over(lab: Lab, other: TransitVault, tmp_path: Path) -> Lab:
    """The lab with a key that the other Vault keeps, its token in a file."""
    token = tmp_path / "transit-token"
    token.touch(mode=0o600)
    _give(token, other.token())
    transit = {
        "address": other.url,
        "key": KEY,
        "ca": str(other.authority),
        "token": {"file": str(token)},
    }
    return lab.changed(
        tmp_path, lambda site: site["vault"].update(unseal="transit", transit=transit)
    )


def test_a_vault_that_stands_is_not_handed_over(lab: Lab, handed_over: Lab) -> None:
    lab.provision("up", "--no-verify", "--only", "vault")
    before = _started(lab)
    assert "a migration of its seal" in handed_over.provision("plan", "--only", "vault", expect=5)
    assert "a migration of its seal" in handed_over.provision(
        "up", "--no-verify", "--only", "vault", expect=5
    )
    assert _started(lab) == before
    assert lab.provision("plan", "--only", "vault").count("nothing to do") == 1


@pytest.mark.usefixtures("empty")
def test_another_vault_keeps_the_key(
    handed_over: Lab,
    other: TransitVault,
    tmp_path: Path,
    report: Callable[[str], None],
) -> None:
    lab, token = handed_over, tmp_path / "transit-token"
    machines = lab.machines.values()
    good = token.read_text()

    _give(token, "hvs.no-token-of-the-other-vault")
    printed = lab.provision("up", "--no-verify", "--only", "vault", expect=8)
    assert f"the Vault that keeps the key ({other.url}) refuses" in printed
    assert "permission denied; its token must be allowed to update" in printed
    for machine in machines:
        assert machine.run(f"ls {CREDENTIAL} 2>/dev/null", check=False) == ""
        assert "seal" not in machine.read("/etc/provision/vault/vault.hcl")

    _give(token, good)
    lab.provision("up", "--no-verify", "--only", "vault")
    kept = json.loads(secret(lab, "vault/keys"))
    assert (kept["recovery"], len(kept["shares"]), kept["root_token"]) == (True, 5, "")
    printed = lab.provision("vault", "status")
    assert "with another Vault; the recovery key is in the site's secrets" in printed
    assert lab.provision("plan", "--only", "vault").count("nothing to do") == 1
    assert write(lab, "kept")
    _no_token_in_the_open(lab, [good, *kept["shares"]])

    # All restart, and serve again by themselves.
    for machine in machines:
        machine.run("systemctl restart vault")
    took = wait_until("every member serves", lambda: lab.provision("vault", "status"), seconds=60)
    report(f"Vault unseals itself by another one {took:.1f} s after all members restarted")
    assert read(lab) == "kept"

    # One that was sealed on purpose takes no shares, and is restarted.
    active = leader(lab)
    _people(lab, active.name).sys.seal()
    printed = lab.provision("vault", "unseal", expect=64)
    assert "takes no shares" in printed
    lab.provision("up", "--no-verify", "--only", "vault")
    lab.provision("vault", "status")

    # One that lost its data joins again.
    standby = next(machine for machine in machines if machine.name != leader(lab).name)
    standby.run(WIPE)
    lab.provision("up", "--no-verify", "--only", "vault")
    lab.provision("vault", "status")

    # Another token.
    _give(token, other.token())
    printed = lab.provision("plan", "--only", "vault", expect=2)
    assert f"credential {CREDENTIAL} is another, wanted the site's" in printed
    lab.provision("up", "--no-verify", "--only", "vault")
    assert lab.provision("plan", "--only", "vault").count("nothing to do") == 1

    # While the other Vault is away, who starts waits for it, and who runs goes on.
    other.stop()
    standby = next(machine for machine in machines if machine.name != leader(lab).name)
    standby.run("systemctl --no-block restart vault")
    assert write(lab, "alone")
    wait_until("it is down", lambda: not _answers(lab, standby.name), seconds=60)
    printed = lab.provision("up", "--no-verify", "--only", "vault", expect=8)
    assert f"the Vault that keeps the key ({other.url}) does not answer" in printed
    other.start()
    wait_until("every member serves", lambda: lab.provision("vault", "status"), seconds=120)

    # A snapshot is put back into new members.
    snapshot = tmp_path / "transit.snap"
    lab.provision("vault", "snapshot", str(snapshot))
    _wipe(lab)
    _bring_back(lab, snapshot)
    assert read(lab) == "alone"


@pytest.mark.usefixtures("empty")
def test_vault_refuses_to_be_initialised(lab: Lab, tmp_path: Path) -> None:
    """Its key to encrypt with has ended, which nobody but Vault looks at."""
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

    # And one that was stopped on its way to the others.
    standby = next(item for item in lab.machines.values() if item.name != leader(lab).name)
    standby.run(WIPE)
    with pytest.raises(hvac.exceptions.InvalidRequest, match="no valid encryption keys"):
        client(lab, standby.name).sys.initialize(1, 1, pgp_keys=[public_key(key)])
    lab.provision("up", "--no-verify", "--only", "vault")
    lab.provision("vault", "status")


def _wipe(lab: Lab) -> None:
    for machine in lab.machines.values():
        machine.run(WIPE)


def _bring_back(lab: Lab, snapshot: Path) -> None:
    printed = lab.provision("up", "--no-verify", "--only", "vault")
    assert "provision vault restore FILE" in printed
    assert "systemctl restart vault" in lab.provision("vault", "restore", str(snapshot), "--yes")
    for machine in lab.machines.values():
        machine.run("systemctl restart vault")
    wait_until("every member serves", lambda: lab.provision("vault", "status"), seconds=60)
    lab.provision("up", "--no-verify", "--only", "vault")


def _give(file: Path, token: str) -> None:
    file.write_text(f"{token}\n")


def _started(lab: Lab) -> list[str]:
    """When each member was started."""
    look = "systemctl show vault --property ActiveEnterTimestamp --property NRestarts"
    return [machine.run(look) for machine in lab.machines.values()]


def _people(lab: Lab, name: str) -> hvac.Client:
    asked = client(lab, name)
    asked.auth.userpass.login("admin", secret(lab, "vault/admin-password"))
    return asked


def _answers(lab: Lab, name: str) -> bool:
    try:
        client(lab, name).sys.read_seal_status()
    except requests.RequestException:
        return False
    return True


def _no_token_in_the_open(lab: Lab, values: list[str]) -> None:
    patterns = "\n".join(values).replace("\n\n", "\n")
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
            assert not [True for value in values if value.strip() in content], path


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
