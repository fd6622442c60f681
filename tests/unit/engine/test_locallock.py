from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from provision.errors import LockedError
from provision.locallock import local_lock

HOLD = """
import sys
from pathlib import Path
from provision.locallock import local_lock
with local_lock(Path(sys.argv[1]), "anna@laptop"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_is_refused_with_the_holders_name(tmp_path: Path) -> None:
    with local_lock(tmp_path, "anna@laptop"):
        with pytest.raises(LockedError) as caught, local_lock(tmp_path, "bert@desk"):
            pass
        assert caught.value.found == "anna@laptop"
    with local_lock(tmp_path, "bert@desk"):
        pass


def test_a_dead_run_does_not_keep_the_lock(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError), local_lock(tmp_path, "bert@desk"):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with local_lock(tmp_path, "bert@desk"):
            pass
