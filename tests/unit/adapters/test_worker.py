"""The real worker between two runs: it waits for the next one, or it ends."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision import worker
from provision.worker import Worker, start_worker, take_worker

NOBODY = {"ssh_hostname": "127.0.0.1", "ssh_port": 9, "ssh_config_file": "/dev/null"}


@pytest.fixture(autouse=True)
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Worker]]:
    """Workers of the test, ended after it; a meeting place of its own."""
    monkeypatch.setenv("PROVISION_CACHE", str(tmp_path))
    started: list[Worker] = []

    def start(**given: Any) -> Worker:
        started.append(start_worker(**given))
        return started[-1]

    monkeypatch.setattr(worker, "start_worker", start)
    yield started
    for one in started:
        one.discard()


def introduce(one: Worker, password: str | None = None) -> None:
    machines = {"n1": {"data": NOBODY, "password": password, "config": ""}}
    one.send(json.dumps({"do": "machines", "machines": machines}).encode() + b"\n")


def ask(one: Worker, number: int) -> dict[str, Any]:
    run = {"do": "run", "id": number, "host": "n1", "command": "true", "lines": [], "seconds": 5}
    one.send(json.dumps(run).encode() + b"\n")
    reply: dict[str, Any] = json.loads(one.replies.readline())
    assert reply["id"] == number
    return reply


def let_go(one: Worker) -> None:
    """As a run does at its end; returns when the worker has taken that in."""
    one.finish()
    assert one.replies.read() == b""
    one.close()


def wait_for_place(folder: Path, *, there: bool) -> None:
    while bool(list(folder.glob("run/*.sock"))) != there:
        pass


def test_the_next_run_finds_it(tmp_path: Path, ours: list[Worker]) -> None:
    first = take_worker()
    introduce(first)
    assert ask(first, 1)["error"]["kind"] == "connect"
    let_go(first)
    wait_for_place(tmp_path, there=True)
    for number in (1, 2):
        again = take_worker()
        assert again.child is None
        introduce(again)
        assert ask(again, number)["error"]["kind"] == "connect"
        wait_for_place(tmp_path, there=False)
        let_go(again)
        wait_for_place(tmp_path, there=True)
    assert len(ours) == 1


def test_a_run_that_was_killed_leaves_it_to_the_next(tmp_path: Path, ours: list[Worker]) -> None:
    killed = take_worker()
    introduce(killed)
    ask(killed, 1)
    killed.send(b'{"do": "run", "id": 2, "host": "n1", "command": "", "lines": [], "seconds": 5}\n')
    killed.stream.recv(1)
    killed.close()
    wait_for_place(tmp_path, there=True)
    again = take_worker()
    introduce(again)
    assert ask(again, 1)["error"]["kind"] == "connect"
    let_go(again)
    assert len(ours) == 1


def test_two_runs_at_once_have_one_each(tmp_path: Path, ours: list[Worker]) -> None:
    first = take_worker()
    introduce(first)
    second = take_worker()
    assert len(ours) == 2
    for one in (first, second):
        introduce(one)
        assert "error" in ask(one, 7)
        let_go(one)
    wait_for_place(tmp_path, there=True)


def test_it_keeps_no_password(ours: list[Worker]) -> None:
    one = take_worker()
    introduce(one, password="hunter2")
    let_go(one)
    assert ours[0].child is not None
    assert os.waitpid(ours[0].child, 0)[1] == 0
    ours[0].child = None


def test_a_folder_that_others_can_enter_is_no_meeting_place(
    tmp_path: Path, ours: list[Worker]
) -> None:
    (tmp_path / "run").mkdir(mode=0o755)
    one = take_worker()
    introduce(one)
    let_go(one)
    assert ours[0].child is not None
    os.waitpid(ours[0].child, 0)
    ours[0].child = None


def test_what_listens_there_and_is_no_worker_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: list[Worker]
) -> None:
    import socket

    monkeypatch.setattr(worker, "GREETING_SECONDS", 0.1)
    place = worker._meeting_place()
    assert place is not None
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(place))
        silent.listen(1)
        assert take_worker().child is not None
    assert len(ours) == 1
