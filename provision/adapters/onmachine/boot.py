"""First thing that runs on a machine: makes the travelling modules importable, then starts one.

:mod:`provision.adapters.payload` appends the call of :func:`start` to this text.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType


class Travelling:
    """Imports modules from their text, each only when it is asked for.

    Finder and loader in one, without the base classes of ``importlib.abc``: importing
    those takes longer than all the rest that happens on a machine.

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
            fullname,
            self,  # type: ignore[arg-type]  # a loader by its methods
            is_package=not self.sources[fullname].strip(),
        )

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's text."""
        name = module.__name__
        code = compile(self.sources[name], f"<{name}>", "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102 - this is what a loader does


def start(sources: dict[str, str], main: str) -> None:
    """Call ``main`` of the module of that name."""
    sys.meta_path.insert(0, Travelling(sources))
    importlib.import_module(main).main()
