"""Reading machines: answers, faults of single machines, sudo, unknown host keys."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from provision.adapters import payload
from provision.adapters.hostkeys import UnknownHostKey
from provision.errors import UnreachableError
from provision.facts import Query
from provision.site import SecretRef
from tests.unit.adapters.conftest import Make, site_of

Behave = Callable[[Mapping[str, Any]], None]

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIE28PEt38xMobt8AKJUPkIoeTZVoiLj6Vqxq+Sm36tXv"


def query_of(path: Path) -> Query:
    return Query(texts=frozenset({str(path)}))


def with_password(machines: Make, given: str) -> Any:
    site = site_of(sudo_password={"prompt": True})

    def reveal(reference: SecretRef) -> str:
        assert reference.prompt
        return given

    return machines(site, sudo_password=reveal)


def test_every_machine_answers_in_the_order_asked(machines: Make, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("hello\n")
    found = machines().read(dict.fromkeys(["n3", "n1"], query_of(text)))
    assert list(found) == ["n3", "n1"]
    assert all(facts.observed["texts"] == {str(text): "hello\n"} for facts in found.values())


def test_the_clock_is_judged_with_the_time_spent_on_the_way(machines: Make) -> None:
    clock = machines().read({"n1": Query()})["n1"].observed["clock"]
    assert abs(clock["offset"]) <= clock["uncertainty"] + 0.001


def test_a_fault_stays_with_its_machine(machines: Make, behave: Behave) -> None:
    behave({"n2": {"error": {"kind": "connect", "name": "192.0.2.2", "text": "timed out"}}})
    found = machines().read(dict.fromkeys(["n1", "n2", "n3"], Query()))
    assert [facts.reachable for facts in found.values()] == [True, False, True]
    assert isinstance(found["n2"].error, UnreachableError)
    assert found["n2"].error.found == "timed out"


def test_a_worker_that_ends_leaves_nobody_waiting(machines: Make, behave: Behave) -> None:
    behave({"n1": {"crash": True}})
    reader = machines()
    for _ in range(2):
        error = reader.read({"n1": Query()})["n1"].error
        assert error is not None
        assert "failed" in error.what


def test_threads_read_at_once(machines: Make, tmp_path: Path) -> None:
    reader = machines()
    paths = [tmp_path / str(number) for number in range(5)]
    answers: dict[Path, str | None] = {}

    def read(path: Path) -> None:
        path.write_text(path.name)
        answers[path] = reader.read({"n1": query_of(path)})["n1"].observed["texts"][str(path)]

    threads = [threading.Thread(target=read, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {path: path.name for path in paths}


def test_a_login_shell_may_talk_before_the_answer(machines: Make, home: Path) -> None:
    sudo = home / "bin" / "sudo"
    sudo.write_text("#!/bin/sh\necho Welcome\nshift 2\n" + 'exec "$@"\n')
    assert machines().read({"n1": Query()})["n1"].reachable


def test_sudo_with_the_right_password(machines: Make, home: Path) -> None:
    (home / "sudo-mode").write_text("correct horse \\ 'x'\n")
    found = with_password(machines, "correct horse \\ 'x'").read({"n1": Query()})
    assert found["n1"].reachable, found["n1"].error


def test_a_password_that_sudo_does_not_want_is_passed_over(machines: Make, home: Path) -> None:
    found = with_password(machines, "import os; os._exit(9)").read({"n1": Query()})
    assert found["n1"].reachable, found["n1"].error


def test_a_wrong_password_is_tried_once(machines: Make, home: Path) -> None:
    (home / "sudo-mode").write_text("right\n")
    error = with_password(machines, "wrong").read({"n1": Query()})["n1"].error
    assert error is not None
    assert error.what == "sudo does not take the password"
    assert (home / "sudo-tries").read_text().split() == ["1"]
    assert "wrong" not in str(error)


def test_sudo_that_wants_a_password_which_the_site_does_not_name(
    machines: Make, home: Path
) -> None:
    (home / "sudo-mode").write_text("right\n")
    error = machines().read({"n1": Query()})["n1"].error
    assert error is not None
    assert error.what == "sudo asks for a password and the site names none"
    assert "sudo_password" in error.fix


def test_sudo_that_refuses(machines: Make, home: Path) -> None:
    (home / "sudo-mode").write_text("refuse\n")
    error = machines().read({"n1": Query()})["n1"].error
    assert error is not None
    assert "not allowed" in error.what


def unknown(file: Path) -> dict[str, Any]:
    return {
        "kind": "key unknown",
        "name": "192.0.2.1",
        "type": "ssh-ed25519",
        "key": KEY,
        "file": str(file),
    }


def test_an_unknown_host_key_is_asked_for_once_and_pinned(
    machines: Make, behave: Behave, tmp_path: Path
) -> None:
    known = tmp_path / "ssh" / "known_hosts"
    behave({"n1": {"errors": [unknown(known)]}, "n2": {"errors": [unknown(known)]}})
    asked: list[UnknownHostKey] = []

    def yes(key: UnknownHostKey) -> bool:
        asked.append(key)
        return True

    found = machines(ask=yes).read(dict.fromkeys(["n1", "n2"], Query()))
    assert all(facts.reachable for facts in found.values())
    assert len(asked) == 1
    assert "SHA256:" in str(asked[0])
    assert known.read_text() == f"192.0.2.1 ssh-ed25519 {KEY}\n"


def test_a_key_that_is_not_trusted_is_refused_and_not_asked_for_again(
    machines: Make, behave: Behave, tmp_path: Path
) -> None:
    behave({"n1": {"error": unknown(tmp_path / "known_hosts")}})
    asked: list[UnknownHostKey] = []

    def no(key: UnknownHostKey) -> bool:
        asked.append(key)
        return False

    reader = machines(ask=no)
    for _ in range(2):
        error = reader.read({"n1": Query()})["n1"].error
        assert error is not None
        assert asked[0].fingerprint in error.found
    assert len(asked) == 1
    assert not (tmp_path / "known_hosts").exists()


def test_without_a_terminal_an_unknown_key_is_refused(
    machines: Make, behave: Behave, tmp_path: Path
) -> None:
    behave({"n1": {"error": unknown(tmp_path / "known_hosts")}})
    assert not machines().read({"n1": Query()})["n1"].reachable


def test_the_command_is_the_same_whatever_is_asked_and_short_enough_for_every_log() -> None:
    for with_one in (True, False):
        assert len(payload.command(with_password=with_one)) < 2048
