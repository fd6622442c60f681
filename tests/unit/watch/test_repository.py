"""Fetching, verifying and checking out, with the system's own git and ssh-keygen."""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from provision.errors import ConfigError, UnreachableError
from provision.watch.repository import Repository
from tests.support.watched import Commits, allowed, make_key, run


@pytest.fixture
def commits(tmp_path: Path) -> Commits:
    return Commits(tmp_path / "work")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "watch", 60)


def fetch(repository: Repository, commits: Commits, revision: str = "main") -> str:
    return repository.fetch(str(commits.folder), revision)


def test_branches_tags_and_commits_are_fetched(repository: Repository, commits: Commits) -> None:
    first = commits.commit({"site.yaml": "one"})
    run(commits.folder, "git", "tag", "--annotate", "--message", "One", "v1")
    second = commits.commit({"site.yaml": "two"})
    assert fetch(repository, commits) == second
    assert fetch(repository, commits, "HEAD") == second
    assert fetch(repository, commits, "v1") == first
    assert fetch(repository, commits, second) == second
    assert stat.S_IMODE(repository.clone.stat().st_mode) == 0o700
    assert not list(repository.clone.glob("hooks/*"))


def test_a_rewritten_branch_is_followed_and_told_apart(
    repository: Repository, commits: Commits
) -> None:
    first = commits.commit({"site.yaml": "one"})
    second = commits.commit({"site.yaml": "two"})
    assert fetch(repository, commits) == second
    repository.keep(second)
    assert repository.descends(second, first)
    run(commits.folder, "git", "reset", "--quiet", "--hard", first)
    third = commits.commit({"site.yaml": "three"})
    assert fetch(repository, commits) == third
    assert not repository.descends(third, second)
    assert not repository.descends(third, "0" * 40)


@pytest.mark.parametrize("revision", ["nowhere", "0" * 40])
def test_what_is_not_there_is_an_error(
    repository: Repository, commits: Commits, revision: str
) -> None:
    commits.commit({"site.yaml": "one"})
    with pytest.raises(UnreachableError) as caught:
        fetch(repository, commits, revision)
    assert str(commits.folder) in caught.value.where
    assert caught.value.found


def test_a_repository_that_is_gone(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="cannot be read") as caught:
        repository.fetch(f"file://{tmp_path}/gone", "main")
    assert "git ls-remote" in caught.value.fix


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"git://127.0.0.1:{server.getsockname()[1]}/site.git"
        started = time.monotonic()
        with pytest.raises(UnreachableError) as caught:
            Repository(tmp_path / "watch", 1).fetch(address, "main")
    assert time.monotonic() - started < 30
    assert caught.value.found == "no end after 1 seconds"


def test_nothing_asks_for_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "asked"
    helper = tmp_path / "askpass"
    helper.write_text(f"#!/bin/sh\ntouch {asked}\n")
    helper.chmod(0o700)
    for name in ("GIT_ASKPASS", "SSH_ASKPASS"):
        monkeypatch.setenv(name, str(helper))
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            for _ in range(1):
                stream, _ = server.accept()
                with stream:
                    stream.recv(65536)
                    stream.sendall(
                        b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\n"
                        b"Content-Length: 0\r\nConnection: close\r\n\r\n"
                    )

        thread = threading.Thread(target=refuse)
        thread.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/site.git"
        with pytest.raises(UnreachableError) as caught:
            Repository(tmp_path / "watch", 30).fetch(address, "main")
        thread.join()
    assert "terminal prompts disabled" in caught.value.found
    assert not asked.exists()


def test_what_a_killed_git_left_locked_does_not_matter(
    repository: Repository, commits: Commits
) -> None:
    commits.commit({"site.yaml": "one"})
    fetch(repository, commits)
    second = commits.commit({"site.yaml": "two"})
    for name in ("refs/watch/head.lock", "packed-refs.lock", "config.lock"):
        (repository.clone / name).touch()
    assert fetch(repository, commits) == second


def test_the_signer_is_told(repository: Repository, commits: Commits, tmp_path: Path) -> None:
    anna, ben = make_key(tmp_path, "anna"), make_key(tmp_path, "ben")
    commits.commit({"site.yaml": "one"}, key=ben)
    commit = fetch(repository, commits)
    assert repository.signer(commit, allowed(anna) + allowed(ben)) == "ben@example.test"


def test_who_is_not_allowed_is_refused(
    repository: Repository, commits: Commits, tmp_path: Path
) -> None:
    anna, ben = make_key(tmp_path, "anna"), make_key(tmp_path, "ben")
    commits.commit({"site.yaml": "one"})
    with pytest.raises(ConfigError, match="not signed by anyone who may") as caught:
        repository.signer(fetch(repository, commits), allowed(anna))
    assert caught.value.found == "no signature"
    commits.commit({"site.yaml": "two"}, key=ben)
    for signers in (allowed(anna), "", "nonsense\n"):
        with pytest.raises(ConfigError) as caught:
            repository.signer(fetch(repository, commits), signers)
        assert "No principal matched" in caught.value.found


def test_a_signature_for_something_else_is_refused(
    repository: Repository, commits: Commits, tmp_path: Path
) -> None:
    anna = make_key(tmp_path, "anna")
    commits.commit({"site.yaml": "one"}, key=anna)
    commit = fetch(repository, commits)
    for_files = allowed(anna).replace('"git"', '"file"')
    with pytest.raises(ConfigError):
        repository.signer(commit, for_files)


def test_a_commit_that_was_changed_after_signing_is_refused(
    repository: Repository, commits: Commits, tmp_path: Path
) -> None:
    anna = make_key(tmp_path, "anna")
    commits.commit({"site.yaml": "one"}, key=anna)
    raw = run(commits.folder, "git", "cat-file", "commit", "HEAD").replace("Change", "Forged")
    path = tmp_path / "raw"
    path.write_text(f"{raw}\n")
    forged = run(commits.folder, "git", "hash-object", "-t", "commit", "-w", str(path))
    run(commits.folder, "git", "update-ref", "refs/heads/main", forged)
    assert fetch(repository, commits) == forged
    with pytest.raises(ConfigError):
        repository.signer(forged, allowed(anna))


def test_a_signature_by_pgp_is_not_judged_by_anybodys_keyring(
    repository: Repository, commits: Commits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gpg that calls everything good stands for a keyring that holds the key."""
    anna = make_key(tmp_path, "anna")
    commits.commit({"site.yaml": "one"})
    raw = run(commits.folder, "git", "cat-file", "commit", "HEAD")
    head, _, body = raw.partition("\n\n")
    signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n abcd\n -----END PGP SIGNATURE-----"
    path = tmp_path / "raw"
    path.write_text(f"{head}\n{signature}\n\n{body}\n")
    signed = run(commits.folder, "git", "hash-object", "-t", "commit", "-w", str(path))
    run(commits.folder, "git", "update-ref", "refs/heads/main", signed)
    folder = tmp_path / "bin"
    folder.mkdir()
    gpg = folder / "gpg"
    gpg.write_text(
        "#!/bin/sh\ncat >/dev/null\n"
        "echo '[GNUPG:] NEWSIG'; echo '[GNUPG:] GOODSIG 1234 anna'\n"
        "echo '[GNUPG:] VALIDSIG 1234'; echo '[GNUPG:] TRUST_ULTIMATE 0 pgp'\n"
    )
    gpg.chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    fetch(repository, commits)
    # What would be fooled, so that the test is about something.
    run(commits.folder, "git", "verify-commit", signed, PATH=f"{folder}:{os.environ['PATH']}")
    with pytest.raises(ConfigError):
        repository.signer(signed, allowed(anna))


def test_a_checkout_is_private_and_replaces_that_before(
    repository: Repository, commits: Commits
) -> None:
    commits.commit({"site.yaml": "one", "keys/one.pub": "key"})
    first = repository.checkout(fetch(repository, commits))
    assert (first / "keys" / "one.pub").read_text() == "key"
    assert stat.S_IMODE((first / "site.yaml").stat().st_mode) == 0o600
    assert stat.S_IMODE((first / "keys").stat().st_mode) == 0o700
    commits.commit({"site.yaml": "two", "keys/one.pub": None})
    second = repository.checkout(fetch(repository, commits))
    assert sorted(path.name for path in second.iterdir()) == ["site.yaml"]
    assert list(repository.checkouts.iterdir()) == [second]
    assert repository.checkout(second.name) == second


def test_half_a_checkout_is_made_anew(repository: Repository, commits: Commits) -> None:
    commits.commit({"site.yaml": "one"})
    commit = fetch(repository, commits)
    left = repository.checkouts / ".partial-killed" / "tree"
    left.mkdir(parents=True)
    path = repository.checkout(commit)
    assert (path / "site.yaml").read_text() == "one"
    assert list(repository.checkouts.iterdir()) == [path]


def test_nothing_of_a_commit_is_run(
    repository: Repository, commits: Commits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(f'[filter "bad"]\n  smudge = "touch {ran}; cat"\n')
    monkeypatch.setenv("HOME", str(home))
    commits.commit({"site.yaml": "one", ".gitattributes": "site.yaml filter=bad\n"})
    path = repository.checkout(fetch(repository, commits))
    assert (path / "site.yaml").read_text() == "one"
    assert not ran.exists()


def test_variables_of_the_callers_git_do_not_reach_it(
    repository: Repository, commits: Commits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as stand in the environment of a hook that runs ``provision``."""
    commit = commits.commit({"site.yaml": "one"})
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    path = repository.checkout(fetch(repository, commits))
    assert path.name == commit
    assert not (tmp_path / "elsewhere").exists()
