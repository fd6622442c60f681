"""What goes wrong on the machine and is told to the operator as it is."""

from __future__ import annotations


class WorkError(Exception):
    """One sentence: what went wrong, and with what."""
