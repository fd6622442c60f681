from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from provision.ansible.plugins.module_utils.site_state import marks, work


def test_a_unit_is_marked_until_it_was_restarted(tmp_path: Path) -> None:
    notes = marks.Marks("demo", tmp_path)
    notes.prepare()
    notes.mark("demo.service")
    assert (tmp_path / "restart-pending" / "demo.service").exists()
    assert notes.is_marked("demo.service")
    notes.clear("demo.service")
    notes.clear("demo.service")
    assert not notes.is_marked("demo.service")


def test_digests_are_kept_for_root_alone(tmp_path: Path) -> None:
    notes = marks.Marks("demo", tmp_path)
    notes.prepare()
    notes.write({"/usr/bin/demo": ["ab", 1, 2, 3, 4]})
    assert notes.known() == {"/usr/bin/demo": ["ab", 1, 2, 3, 4]}
    assert notes.digests.stat().st_mode & 0o777 == 0o600
    notes.write({})
    assert notes.known() == {}
    assert not notes.digests.exists()


def test_a_torn_digest_cache_is_as_none(tmp_path: Path) -> None:
    notes = marks.Marks("demo", tmp_path)
    notes.prepare()
    notes.digests.write_text('{"/usr/bin/de')
    assert notes.known() == {}


def test_digests_name_only_files_that_stand_as_wanted(tmp_path: Path) -> None:
    notes = marks.Marks("demo", tmp_path / "state")
    notes.prepare()
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(b"good")
    bad.write_bytes(b"changed since")
    sha256 = hashlib.sha256(b"good").hexdigest()
    found = work.digests({str(good): sha256, str(bad): sha256}, notes)
    status = good.stat()
    assert found == {
        str(good): [
            sha256,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_ino,
        ]
    }


def test_a_second_process_waits_for_the_lock(tmp_path: Path) -> None:
    script = (
        "import fcntl, sys\n"
        "with open(sys.argv[1], 'w') as file:\n"
        "    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "provision-demo")]
    with marks.locked("demo", tmp_path):
        held = subprocess.run(command, capture_output=True, check=False, env=dict(os.environ))
        assert b"BlockingIOError" in held.stderr
    assert subprocess.run(command, check=False).returncode == 0
