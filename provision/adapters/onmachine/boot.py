"""First thing that runs on a machine: makes the travelling modules importable, then starts one.

:mod:`provision.adapters.payload` puts ``SOURCES`` (source text by module name) and
``MAIN`` (the module whose ``main`` is called) before this text.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

SOURCES: dict[str, str]
MAIN: str


class Travelling(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports modules from :data:`SOURCES`, each only when it is asked for."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's specification, or None where it does not travel."""
        if fullname not in SOURCES:
            return None
        return importlib.machinery.ModuleSpec(
            fullname, self, is_package=not SOURCES[fullname].strip()
        )

    def get_source(self, fullname: str) -> str:
        """The module's text."""
        return SOURCES[fullname]


sys.meta_path.insert(0, Travelling())
importlib.import_module(MAIN).main()
