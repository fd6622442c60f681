"""What ends the work on this machine, in words for the administrator."""

from __future__ import annotations


class WorkError(Exception):
    """A step that cannot be done; its message says what was tried and what came of it."""
