"""First thing that runs on a machine: makes the travelling modules importable, then starts one.

:mod:`provision.adapters.payload` appends the call of :func:`start` to this text.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType


class Travelling(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports modules from their text, each only when it is asked for.

    Parameters
    ----------
    sources
        Source text by module name; an empty one is a package.
    """

    def __init__(self, sources: dict[str, str]) -> None:
        self.sources = sources

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's specification, or None where it does not travel."""
        if fullname not in self.sources:
            return None
        return importlib.machinery.ModuleSpec(
            fullname, self, is_package=not self.sources[fullname].strip()
        )

    def get_source(self, fullname: str) -> str:
        """The module's text."""
        return self.sources[fullname]


def start(sources: dict[str, str], main: str) -> None:
    """Call ``main`` of the module of that name."""
    sys.meta_path.insert(0, Travelling(sources))
    importlib.import_module(main).main()
