"""What is judged in a checkout of Phalanx is what Argo CD will deploy."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.phalanx.branch import branch_rows, deployed_url, shown
from tests.support.watched import Commits, run

SERVER = "https://git.example.test/"
FILE = "environments/values-observatory.yaml"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clean one, whose branch is pushed to a server by https."""
    commits = Commits(tmp_path / "phalanx")
    commits.commit({FILE: "name: observatory"})
    run(tmp_path, "git", "clone", "--quiet", "--bare", str(commits.folder), "served.git")
    run(commits.folder, "git", "remote", "add", "origin", f"{SERVER}served.git")
    # The server is a folder.
    instead = f"url.file://{tmp_path}/.insteadOf"
    run(commits.folder, "git", "config", instead, SERVER)
    return commits.folder


def found(checkout: Path, branch: str = "main") -> dict[str, tuple[bool, str]]:
    return {row.what: (row.good, row.found) for row in branch_rows(checkout, branch)}


def commit(checkout: Path) -> str:
    run(checkout, "git", "commit", "--quiet", "--all", "--allow-empty", "--message", "More")
    return run(checkout, "git", "rev-parse", "HEAD")[:12]


def test_what_is_pushed_is_what_is_judged(checkout: Path) -> None:
    head = run(checkout, "git", "rev-parse", "HEAD")[:12]
    assert found(checkout) == {
        "changes in the checkout": (True, "none"),
        "origin of the checkout": (True, f"{SERVER}served.git"),
        "branch main at its origin": (True, head),
    }


def test_what_is_not_committed_is_not_deployed(checkout: Path) -> None:
    (checkout / FILE).write_text("name: other")
    (checkout / "new.yaml").write_text("")
    assert found(checkout)["changes in the checkout"] == (False, f"{FILE}, new.yaml")
    for number in range(3):
        (checkout / f"z{number}").write_text("")
    assert found(checkout)["changes in the checkout"][1].endswith("z0 and 2 more")


def test_what_is_not_pushed_is_not_deployed(checkout: Path) -> None:
    before = run(checkout, "git", "rev-parse", "HEAD")[:12]
    after = commit(checkout)
    told = f"{before}; the checkout has {after}"
    assert found(checkout)["branch main at its origin"] == (False, told)
    told = f"no such branch; the checkout has {after}"
    assert found(checkout, "other")["branch other at its origin"] == (False, told)


def test_a_server_that_cannot_be_read(checkout: Path) -> None:
    run(checkout, "git", "remote", "set-url", "origin", f"{SERVER}nothing.git")
    good, told = found(checkout)["branch main at its origin"]
    assert not good
    assert "nothing.git" in told


def test_what_is_no_checkout_of_git(tmp_path: Path) -> None:
    rows = found(tmp_path)
    assert "not a git repository" in rows["changes in the checkout"][1]
    assert rows["origin of the checkout"] == (False, "none")


@pytest.mark.parametrize(
    ("origin", "url"),
    [
        ("https://git.example.test/a/phalanx", "https://git.example.test/a/phalanx"),
        ("git@github.com:a/phalanx.git", "https://github.com/a/phalanx.git"),
        ("ssh://git@github.com/a/phalanx", "https://github.com/a/phalanx"),
        ("git@git.example.test:a/phalanx", ""),
        ("ssh://git@git.example.test/a/phalanx", ""),
        ("http://git.example.test/a/phalanx", ""),
        ("/srv/phalanx", ""),
        ("https://[::1/a", ""),
        ("", ""),
    ],
)
def test_what_the_installer_takes_for_an_origin(origin: str, url: str) -> None:
    assert deployed_url(origin) == url


def test_a_password_in_an_origin_is_not_shown() -> None:
    assert shown("https://ada:hunter2@git.example.test/a") == "https://git.example.test/a"
    assert shown("git@github.com:a/b") == "git@github.com:a/b"
