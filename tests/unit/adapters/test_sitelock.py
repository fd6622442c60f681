"""The site's lock, with the real process that holds it on each machine."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from provision.errors import LockedError, UnreachableError
from provision.observe import Holder
from tests.unit.adapters.conftest import Make, site_of

Behave = Callable[[Mapping[str, Any]], None]

DOWN = {"error": {"kind": "connect", "name": "192.0.2.9", "text": "timed out"}}


def holder(run: str) -> Holder:
    since = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    return Holder(who="anna@desk", run=run, since=since, where="process 7")


def test_the_lock_is_held_everywhere_and_leaves_nothing_behind(machines: Make, home: Path) -> None:
    with machines().lock(holder("one")) as lock:
        assert lock.held == ("n1", "n2", "n3")
        signed = json.loads((home / "run" / "n2" / "lock").read_text())
        assert Holder.from_dict(signed) == holder("one")
    again = machines().lock(holder("two"))
    assert again.held == ("n1", "n2", "n3")
    again.release()


def test_another_run_is_refused_and_told_who_holds_it(machines: Make) -> None:
    with machines().lock(holder("one")), pytest.raises(LockedError) as refused:
        machines().lock(holder("two"))
    assert refused.value.found == "anna@desk, process 7, run one, since 2030-01-02 03:04:05 UTC"
    assert "provision runs show one" in refused.value.fix


def test_of_runs_that_start_at_once_one_gets_the_site(machines: Make) -> None:
    got: list[str] = []
    refused: list[str] = []
    seen: list[str] = []
    ready = threading.Barrier(3)
    done = threading.Barrier(3)

    def run(name: str) -> None:
        reader = machines()
        ready.wait()
        try:
            lock = reader.lock(holder(name))
        except LockedError as error:
            refused.append(name)
            seen.append(error.found.partition(",")[0])
            done.wait()
        else:
            got.append(name)
            done.wait()
            lock.release()

    threads = [threading.Thread(target=run, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert len(refused) == 2
    assert seen == ["anna@desk"] * 2


def test_most_machines_are_enough(machines: Make, behave: Behave) -> None:
    behave({"n1": DOWN})
    with machines().lock(holder("one")) as lock:
        assert lock.held == ("n2", "n3")


def test_too_few_machines_are_not_enough(machines: Make, behave: Behave, home: Path) -> None:
    behave({"n1": DOWN, "n3": DOWN})
    with pytest.raises(UnreachableError) as refused:
        machines().lock(holder("one"))
    assert refused.value.where == "n1, n3"
    assert refused.value.wanted == "2 of n1, n2, n3"
    behave({})
    machines().lock(holder("two")).release()


def test_a_part_is_given_back_when_another_run_has_most(machines: Make, behave: Behave) -> None:
    behave({"n1": DOWN})
    with machines().lock(holder("one")):
        behave({})
        # n1 is free and asked first, the others are taken.
        with pytest.raises(LockedError):
            machines().lock(holder("two"))
    machines().lock(holder("three")).release()


def test_the_lock_of_a_dead_run_is_free(machines: Make) -> None:
    dead = machines()
    dead.lock(holder("one"))
    dead._worker.kill()
    reader = machines()
    # The machines notice the end of the connection a moment later.
    while True:
        try:
            reader.lock(holder("two")).release()
        except LockedError:
            continue
        break


def test_keep_takes_it_again_where_a_machine_lost_it(machines: Make, home: Path) -> None:
    reader = machines()
    lock = reader.lock(holder("one"))
    end(home, "n2")
    while "n2" in lock.held:
        pass
    lock.keep()
    assert lock.held == ("n1", "n2", "n3")
    lock.release()


def test_keep_says_when_most_is_lost(machines: Make, behave: Behave, home: Path) -> None:
    lock = machines().lock(holder("one"))
    behave({"n1": DOWN, "n2": DOWN})
    for host in ("n1", "n2"):
        end(home, host)
    while len(lock.held) > 1:
        pass
    with pytest.raises(LockedError) as lost:
        lock.keep()
    assert lost.value.found == "1 of 3 hold it"
    lock.release()


def test_one_machine_is_a_majority_of_itself(machines: Make) -> None:
    with machines(site_of(1)).lock(holder("one")) as lock:
        assert lock.held == ("n1",)


def test_a_holder_that_has_not_signed_is_unknown() -> None:
    assert Holder.from_dict({}) is None
    assert Holder.from_dict({"since": "never", "who": "", "run": "", "where": ""}) is None


def end(home: Path, host: str) -> None:
    """End the process that holds the lock of ``host``, as a reboot does."""
    wanted = (home / "run" / host / "lock").stat()
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and holds(process, wanted):
            os.kill(int(process.name), signal.SIGTERM)


def holds(process: Path, wanted: os.stat_result) -> bool:
    try:
        return any(os.path.samestat(path.stat(), wanted) for path in (process / "fd").iterdir())
    except OSError:
        return False
