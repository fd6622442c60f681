"""``provision``, and ``python -m provision``: starts first what takes longest."""

from __future__ import annotations

import gc
import sys

from provision.worker import discard_early, start_early

_READ_MACHINES = frozenset({"check", "plan", "up", "status", "reset"})


def main() -> None:
    """Run the command line and exit with the documented code."""
    # Nearly all of what a short run allocates it keeps; looking through that again and again for
    # what can be freed takes a tenth of a no-op `up`.
    gc.set_threshold(50_000)
    arguments = sys.argv[1:]
    if _READ_MACHINES.intersection(arguments[:1]) and "--help" not in arguments:
        start_early()
    from provision.cli import main as command_line

    try:
        command_line(arguments)
    finally:
        discard_early()


if __name__ == "__main__":
    main()
