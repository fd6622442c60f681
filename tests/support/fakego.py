"""A ``go`` command that knows a few modules and counts what it is asked.

Run as a program; its state is ``state.json`` in the folder above its own.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from provision.bundle.toolchain import Toolchain


def install(folder: Path, modules: dict[str, str], broken: tuple[str, ...] = ()) -> Toolchain:
    """A toolchain below ``folder`` that serves ``modules``.

    Parameters
    ----------
    modules
        ``h1:`` checksum by ``module@version``.
    broken
        Packages that do not compile until ``repair`` is called.
    """
    root = folder / "goroot"
    (root / "bin").mkdir(parents=True)
    program = root / "bin" / "go"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(_PROJECT)!r})\n"
        "from tests.support.fakego import main\nmain()\n"
    )
    program.chmod(0o755)
    _write(root, {"modules": modules, "broken": list(broken), "calls": []})
    # Each call of the program is a process of its own, and need not load the builder.
    from provision.bundle.toolchain import Toolchain

    return Toolchain("1.99.0", root)


def calls(toolchain: Toolchain) -> list[list[str]]:
    """Arguments of every call so far."""
    found: list[list[str]] = _read(toolchain.root)["calls"]
    return found


def repair(toolchain: Toolchain) -> None:
    """Let every package compile."""
    _write(toolchain.root, {**_read(toolchain.root), "broken": []})


def main() -> None:
    """Answer one call."""
    root = Path(os.environ["GOROOT"])
    state = _read(root)
    arguments = sys.argv[1:]
    state["calls"].append(arguments)
    _write(root, state)
    match arguments:
        case ["mod", "download", "-json", name]:
            folder = Path(os.environ["GOMODCACHE"]) / name
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "scripts").mkdir(parents=True)
            (folder / "scripts" / "run.sh").write_text("#!/bin/sh\n")
            (folder / "chart").mkdir()
            (folder / "chart" / "Chart.yaml").write_text("name: example\n")
            sys.stdout.write(json.dumps({"Dir": str(folder), "Sum": state["modules"][name]}))
        case ["list", "-deps", *rest]:
            packages = [one for one in rest if not one.startswith("-")]
            sys.stdout.write("".join(f"{one}\n" for one in packages))
        case ["build", *_, "std"]:
            (Path(os.environ["GOCACHE"]) / "00").mkdir(parents=True)
        case ["build", *rest]:
            _build(rest, state["broken"])
        case ["version", "-m", binary]:
            sys.stdout.write(
                f"{binary}: go1.99.0\n\tpath\texample\n"
                "\tdep\texample.org/dependency\tv0.1.0\th1:dep=\n"
                "\tdep\texample.org/replaced\tv0.2.0\n\t=>\texample.org/by\tv0.3.0\th1:by=\n"
            )
        case _:
            sys.exit(f"unexpected: {arguments}")


def _build(rest: list[str], broken: list[str]) -> None:
    target = Path(rest[rest.index("-o") + 1])
    packages = rest[rest.index("-o") + 2 :]
    tags = next(one for one in rest if one.startswith("-tags="))
    for package in packages:
        sys.stderr.write(f"{package}\n")
        if package in broken:
            sys.exit(f"{package}/main.go:1:1: syntax error")
        (target / package.rpartition("/")[2]).write_text(f"{package} {tags}")


_PROJECT = Path(__file__).parents[2]


def _read(root: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((root / "state.json").read_text())
    return state


def _write(root: Path, state: object) -> None:
    (root / "state.json").write_text(json.dumps(state))
