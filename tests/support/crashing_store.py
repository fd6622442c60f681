"""Makes a store again and again, each time killed one step later, and heals it.

Run as a program of its own, because it forks: ``python -m tests.support.crashing_store FOLDER``.
Prints how many kills the store outlived.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from provision.secrets import SecretStore
from provision.secretspec import Authority, Certificate, KeyPair, Random, SecretSpec, Text

SPECS: tuple[SecretSpec, ...] = (
    Authority("ca", "ca"),
    Certificate("leaf", "ca", "leaf", names=("leaf",)),
    Random("random"),
    KeyPair("pair"),
    Text("text", "{secret:leaf.key}{secret:leaf.crt}"),
)
WATCHED = ("provision/secrets.py", "provision/privatefiles.py", "tempfile.py")
ONCE = ("ca.key", "ca.crt", "random", "pair.key")
"""Files that, once written, stay as they are."""
KILLED, THROUGH = 9, 0


class _Killer:
    """Ends the process at the line number ``countdown`` that it sees."""

    def __init__(self, countdown: int) -> None:
        self.countdown = countdown

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.endswith(WATCHED):
            return None
        if event == "line":
            self.countdown -= 1
            if self.countdown == 0:
                os._exit(KILLED)
        return self


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Run ``work`` in a child that is killed at ``step``; False when it got through first."""
    child = os.fork()
    if child == 0:
        sys.settrace(_Killer(step))
        work()
        os._exit(THROUGH)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == KILLED


def check(store: SecretStore) -> None:
    """Every secret is there and fits the others."""
    assert [info for info in store.describe() if info.due or not info.present] == []
    assert store.ensure(SPECS) == []
    assert not list(store.path.rglob(".partial-*"))


def first_run(path: Path) -> None:
    """What is killed."""
    SecretStore(path, specs=SPECS, site="s").ensure(SPECS)


def outlives(path: Path, step: int, kept: dict[str, bytes]) -> bool:
    """Whether the work at ``path`` was killed at ``step``, and healed; False past its end."""
    if not killed_at(step, lambda: first_run(path)):
        return False
    found = {name: (path / name).read_bytes() for name in ONCE if (path / name).exists()}
    store = SecretStore(path, specs=SPECS, site="s")
    store.ensure(SPECS)
    check(store)
    for name, content in {**found, **kept}.items():
        assert store.read(name) == content, f"step {step}: {name} made twice"
    return True


def main(folder: Path, stride: int) -> None:
    """Kill a first making and a renewal at every ``stride``-th line of code."""
    before = folder / "before"
    first_run(before)
    kept = {name: (before / name).read_bytes() for name in ONCE}
    (before / "leaf.crt").unlink()
    kills = 0
    for start in (None, before):
        step = 1
        while True:
            path = folder / f"{'new' if start is None else 'renewal'}-{step}"
            if start is not None:
                shutil.copytree(start, path)
            if not outlives(path, step, {} if start is None else kept):
                break
            shutil.rmtree(path)
            kills += 1
            step += stride
    print(kills)


def kill_and_heal(folder: Path, stride: int) -> int:
    """Run :func:`main` as a program of its own; how many kills the store outlived."""
    command = [sys.executable, "-m", "tests.support.crashing_store", str(folder), str(stride)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
