"""``provision secrets`` on the command line."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pyrage
import pytest

from provision.cli import main
from provision.errors import ExitCode
from provision.locallock import local_lock

SITE = """\
name: lab
hosts:
  n1: {address: 192.0.2.11, parts: [control_plane, worker]}
network: {machines: 192.0.2.0/24}
kubernetes: {version: 1.36.3}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"hunter2\n")))
    (tmp_path / "site.yaml").write_text(SITE)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["secrets", *arguments])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert "hunter2" not in printed.out + printed.err
    return int(caught.value.code or 0), printed.out, printed.err


def test_listing_makes_nothing(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, printed, _ = run(capsys, "list", "--json")
    assert code == 0
    kinds = {item["name"]: item["kind"] for item in json.loads(printed)}
    assert kinds["site-ca"] == "Authority"
    assert not (folder / "state/provision/lab/secrets").exists()


def test_a_secret_is_put_exported_and_imported(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = pyrage.x25519.Identity.generate()
    (folder / "key.txt").write_text(str(identity))
    assert run(capsys, "put", "sudo")[:2] == (0, "kept sudo\n")
    kept = folder / "state/provision/lab/secrets/sudo"
    assert kept.read_bytes() == b"hunter2\n"
    code, printed, _ = run(capsys, "export", "lab.age", "--recipient", str(identity.to_public()))
    assert (code, printed) == (0, "wrote 1 secrets to lab.age\n")

    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "other"))
    code, printed, _ = run(capsys, "import", "lab.age", "--identity", "key.txt")
    assert (code, printed) == (0, "1 added, 0 replaced\n")
    assert (folder / "other/provision/lab/secrets/sudo").read_bytes() == b"hunter2\n"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("export", "x.age"), "no secrets of the site|nobody to encrypt"),
        (("export", "x.age", "--passphrase"), "no terminal"),
        (("import", "nonesuch.age"), "cannot be read"),
        (("renew", "site-ca"), "not a secret that can be renewed"),
        (("put", "site-ca.key"), "a name of its own"),
        (("put", "../escape"), "a name of its own"),
    ],
)
def test_what_cannot_be_done_ends_with_the_secrets_code(
    capsys: pytest.CaptureFixture[str], folder: Path, arguments: tuple[str, ...], what: str
) -> None:
    code, _, error = run(capsys, *arguments)
    assert code == ExitCode.SECRETS
    assert any(part in error for part in what.split("|"))
    assert "fix:" in error
    assert not (folder / "x.age").exists()


def test_an_import_waits_for_no_run(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    state = folder / "state/provision/lab"
    state.mkdir(parents=True)
    with local_lock(state, "provision up"):
        code, _, error = run(capsys, "import", "lab.age")
    assert code == ExitCode.LOCKED
    assert "provision up" in error


def test_an_open_store_is_refused_with_the_command_that_closes_it(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    run(capsys, "put", "sudo")
    store = folder / "state/provision/lab/secrets"
    os.chmod(store, 0o755)  # noqa: PTH101, S103 - what is to be refused
    code, _, error = run(capsys, "list")
    assert code == ExitCode.SECRETS
    assert f"chmod 0700 {store}" in error
