"""Loads kernel modules and sets kernel parameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .commands import run
from .failure import WorkError

PARAMETERS = Path("/proc/sys")


def load_module(name: str) -> None:
    """Load the kernel module ``name``.

    Raises
    ------
    WorkError
        The kernel has neither the module nor the feature built in.
    """
    try:
        run(["modprobe", name])
    except WorkError as error:
        raise WorkError(f"kernel module {name} cannot be loaded: {error}") from error


def set_parameters(wanted: Mapping[str, str]) -> None:
    """Write every kernel parameter of ``wanted`` and read it back.

    Raises
    ------
    WorkError
        Names all parameters that are unknown, read-only or refuse the value.
    """
    refusals = [text for name, value in wanted.items() if (text := _set(name, value))]
    if refusals:
        raise WorkError("\n".join(refusals))


def parameter_path(name: str) -> Path:
    """File of the parameter; as for sysctl(8), a slash stands for a dot in a part of the name."""
    return PARAMETERS / name.translate(str.maketrans("./", "/."))


def _set(name: str, value: str) -> str:
    path = parameter_path(name)
    try:
        path.write_text(value, "ascii")
        found = path.read_text("ascii")
    except FileNotFoundError:
        return f"sysctl {name} is unknown to this kernel"
    except OSError as error:
        return f"sysctl {name} cannot be set to {value}: {error.strerror}"
    if found.split() != value.split():
        return f"sysctl {name} was set to {value}, but the kernel keeps {found.strip()}"
    return ""
