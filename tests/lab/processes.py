"""What anyone on the host could have read of its processes: arguments and environments."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Self

INTERVAL = 0.05
"""Seconds between two looks."""
LOOKS = 3
"""Looks at a new process; between them it may have become another program."""


class ProcessWatch:
    """Reads the arguments and environment of every new process, the lab's machines' too.

    The machines are containers, so that the host sees all their processes. It is a sample: a
    process that lives less than the interval may be missed.
    """

    def __init__(self) -> None:
        self._seen: dict[bytes, None] = {}
        self._looks: dict[Path, int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def texts(self) -> list[bytes]:
        """Every argument list and environment that was seen, once each."""
        return list(self._seen)

    def _watch(self) -> None:
        while not self._ended.wait(INTERVAL):
            there = {path for path in Path("/proc").iterdir() if path.name.isdigit()}
            self._looks = {path: looks for path, looks in self._looks.items() if path in there}
            for path in there:
                if (looks := self._looks.get(path, 0)) < LOOKS:
                    self._looks[path] = looks + 1
                    self._read(path)

    def _read(self, process: Path) -> None:
        for kind in ("cmdline", "environ"):
            try:
                self._seen[(process / kind).read_bytes()] = None
            except OSError:
                # It ended in between.
                return
