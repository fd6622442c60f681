"""The operator's wish to stop, heard by everything that runs or waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock


class Cancellation:
    """Set once; whoever blocks leaves a callback that unblocks it."""

    def __init__(self) -> None:
        self._event = Event()
        self._lock = Lock()
        self._callbacks: list[Callable[[], None]] = []

    def set(self) -> None:
        """Stop everything; later calls do nothing more."""
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def is_set(self) -> bool:
        """Whether to stop."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until told to stop; whether to stop."""
        return self._event.wait(seconds)

    @contextmanager
    def unblocking(self, callback: Callable[[], None]) -> Iterator[None]:
        """Within the block, ``callback`` is called when the wish comes, or at once if it has."""
        with self._lock:
            late = self._event.is_set()
            if not late:
                self._callbacks.append(callback)
        if late:
            callback()
        try:
            yield
        finally:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)
