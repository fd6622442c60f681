from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from provision.errors import UsageError
from provision.events import Event
from provision.journal import Journal, past_runs, read_run


def test_events_come_back_as_they_went_in(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "runs")) as journal:
        journal.write(Event("run-started", data={"command": "up"}))
        journal.write(Event("task", "machine", "n1", "files", {"status": "changed"}))
        journal.write(Event("run-finished", data={"outcome": "done", "seconds": 1.5}))
    events = list(read_run(tmp_path / "runs", journal.run))
    assert [event["event"] for event in events] == ["run-started", "task", "run-finished"]
    assert events[1]["host"] == "n1"
    (summary,) = past_runs(tmp_path / "runs")
    assert (summary.command, summary.outcome, summary.seconds) == ("up", "done", 1.5)


def test_a_killed_run_reads_as_interrupted_up_to_its_last_whole_line(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        journal.write(Event("run-started", data={"command": "up"}))
    with journal.path.open("ab") as file:
        file.write(b'\xff\x00\n[]\n{}\n{"time": "half a li')
    (summary,) = past_runs(tmp_path)
    assert summary.outcome == "interrupted"


SMALL = """\
import resource, sys
from pathlib import Path
from provision.events import Event
from provision.journal import Journal
journal = Journal(Path(sys.argv[1]))
journal.write(Event("run-started", data={"command": "up"}))
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
try:
    journal.write(Event("task", text="x" * 300))
finally:
    journal.write(Event("run-finished", data={"outcome": "failed"}))
"""


def test_a_line_that_the_disk_took_in_part_is_taken_back(tmp_path: Path) -> None:
    """A real limit on the size of files stands for the disk."""
    done = subprocess.run(
        [sys.executable, "-c", SMALL, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert "the journal cannot be written" in done.stderr
    (summary,) = past_runs(tmp_path)
    events = [event["event"] for event in read_run(tmp_path, summary.run)]
    assert events == ["run-started", "run-finished"]


def test_only_the_owner_may_read_a_journal(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "runs")) as journal:
        pass
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert journal.path.parent.stat().st_mode & 0o777 == 0o700


def test_an_unknown_run_says_how_to_list_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run has the id 2099") as caught:
        list(read_run(tmp_path, "2099"))
    assert "provision runs" in caught.value.fix


def test_runs_that_begin_at_the_same_moment_have_names_of_their_own(tmp_path: Path) -> None:
    names = []
    for _ in range(50):
        with closing(Journal(tmp_path)) as journal:
            names.append(journal.run)
    assert sorted(set(names)) == names
