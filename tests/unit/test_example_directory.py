"""How examples/platform fills its directory: with everybody's password, or not at all."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

FILL = Path(__file__).parents[2] / "examples/platform/applications/directory/files/fill.sh"
FOLDERS = ("secrets", "configuration", "database")
PROGRAMS = {
    "slappasswd": 'exec cat -- "$5"',
    "slapadd": 'cp -- "$5" "$5.added"',
}
"""Stand-ins: a password stays as it is, and what would be added is kept."""
SECRETS = {"reader": "r", "people/ada": "a", "people/plato": "p", "numbered": "n"}
PEOPLE = "ada\tu1\tLovelace\tAda\nplato\tu2\tPlato\t\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A pod's folders, below one of the test's own."""
    for name, script in PROGRAMS.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    for name, secret in SECRETS.items():
        file = tmp_path / "secrets" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(secret)
    for folder in FOLDERS:
        (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / "configuration/people").write_text(PEOPLE)
    return tmp_path


def filled(root: Path) -> subprocess.CompletedProcess[str]:
    script = FILL.read_text("utf-8")
    for folder in FOLDERS:
        script = script.replace(f"/{folder}/", f"{root}/{folder}/")
    return subprocess.run(
        ["/bin/sh", "-s"],
        input=script,
        env={"PATH": f"{root}/bin:/usr/bin:/bin", "DOMAIN": "site.test", "COUNT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def people(root: Path) -> dict[str, dict[str, str]]:
    """What each person's entry holds."""
    text = (root / "database/people.ldif.added").read_text()
    entries = [
        dict(line.split(": ", 1) for line in entry.splitlines()) for entry in text.split("\n\n")
    ]
    return {entry["uid"]: entry for entry in entries if "uid" in entry}


def test_everybody_has_his_names_and_his_password(root: Path) -> None:
    done = filled(root)
    assert done.returncode == 0, done.stderr
    found = people(root)
    assert found["ada"] == {
        "dn": "uid=ada,ou=people,dc=site",
        "objectClass": "inetOrgPerson",
        "uid": "ada",
        "entryUUID": "u1",
        "givenName": "Ada",
        "sn": "Lovelace",
        "cn": "Ada Lovelace",
        "mail": "ada@site.test",
        "userPassword": "a",
    }
    assert found["user0001"]["cn"] == "User user0001"
    assert found["user0001"]["userPassword"] == "n"


def test_somebody_may_have_one_name(root: Path) -> None:
    filled(root)
    plato = people(root)["plato"]
    assert (plato["sn"], plato["cn"]) == ("Plato", "Plato")
    assert "givenName" not in plato


@pytest.mark.parametrize("secret", SECRETS)
def test_without_a_password_nothing_is_added(root: Path, secret: str) -> None:
    (root / "secrets" / secret).unlink()
    done = filled(root)
    assert done.returncode != 0
    assert secret in done.stderr
    assert not (root / "database/people.ldif.added").exists()
