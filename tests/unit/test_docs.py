"""The documentation says what the program does."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from provision.bundle.catalog import SourceKind, catalog, default_kubernetes_version
from provision.secrets import SecretStore
from tests.support.error_examples import EXAMPLES
from tests.support.secrets import SPECS

ROOT = Path(__file__).parents[2]
ERRORS = ROOT / "docs" / "errors.md"


def block(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- example: {name} -->\n```text\n)(.*?)(```\n)", re.DOTALL)


def plain(text: str, folder: Path) -> str:
    """What differs from run to run, made equal; long paths as a reader knows them."""
    text = re.sub(r"\d{8}T\d{6}\.\d{3}-\d+", "20261123T101500.123-4711", text)
    text = text.replace(f"{folder}/site.yaml", "site.yaml")
    return text.replace(str(folder), "~/.local/state/provision")


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_what_the_program_says(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made = plain(EXAMPLES[name](tmp_path), tmp_path) + "\n"
    if request.config.getoption("--update-golden"):
        page = ERRORS.read_text()
        ERRORS.write_text(block(name).sub(lambda found: found[1] + made + found[3], page))
    shown = block(name).search(ERRORS.read_text())
    assert shown is not None, f"docs/errors.md shows no example {name}"
    assert shown[2] == made, "docs/errors.md differs; --update-golden writes it anew"


def test_no_example_is_shown_that_nobody_makes() -> None:
    assert set(re.findall(r"<!-- example: ([\w-]+) -->", ERRORS.read_text())) == set(EXAMPLES)


def test_the_table_of_versions_is_the_catalogs() -> None:
    page = (ROOT / "docs" / "bundle.md").read_text()
    found = re.findall(r"^\| ([a-z-]+) \| ([0-9.]+) \| ([0-9.]*) \|", page, re.MULTILINE)
    kinds: tuple[SourceKind, ...] = ("source", "upstream")
    built, published = (
        catalog().select(default_kubernetes_version(), "amd64", kind).versions for kind in kinds
    )
    assert found == [(name, built[name], published.get(name, "")) for name in sorted(built)]


def test_the_site_reference_is_what_the_schema_says() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "site_reference.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_commands_that_pages_name_exist(page: Path) -> None:
    """Every ``provision VERB`` on a page is a verb of the command line."""
    text = page.read_text()
    verbs = set(re.findall(r"(?:`|\$ |\n)provision ([a-z]+)(?: ([a-z]+))?", text))
    known = {
        command: set(group)
        for command, group in {
            "secrets": ("list", "export", "import", "renew", "put"),
            "bundle": ("build", "verify", "list", "show"),
            "runs": ("show",),
            "new": ("component",),
            "handoff": ("phalanx",),
            "platform": ("status", "wait", "sync", "diff"),
            "postgresql": ("status", "backup", "restore", "promote"),
            "vault": ("status", "unseal", "shares", "snapshot", "restore", "forget"),
        }.items()
    }
    plain_verbs = {
        "init",
        "schema",
        "check",
        "plan",
        "up",
        "status",
        "verify",
        "reset",
        "inventory",
        "watch",
        "approve",
    }
    for verb, action in verbs:
        assert verb in plain_verbs | set(known), f"provision {verb}"
        if verb in known and action:
            assert action in known[verb], f"provision {verb} {action}"


def test_the_store_lies_where_the_pages_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from provision.paths import state_path

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    store = SecretStore(state_path("stella") / "secrets", specs=SPECS, site="stella")
    store.ensure(SPECS)
    assert (tmp_path / ".local/state/provision/stella/secrets/kubeconfig").is_file()
    assert (
        "~/.local/state/provision/stella/secrets/kubeconfig"
        in (ROOT / "docs" / "index.md").read_text()
    )
