"""Run the bundle's own programs on the controller that make objects of what people wrote."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from provision.errors import ConfigError
from provision.phase import BundleView

SECONDS = 60.0
"""Time that a program has for one chart or kustomization."""


@dataclass(frozen=True)
class Work:
    """What is rendered, in words for the operator.

    Parameters
    ----------
    subject
        Begins a sentence: ``the chart of web``.
    refused
        Ends it where the program does not take it: ``refuses the values that it is given``.
    where
        Whose part of the site file it is.
    fix
        What to do about a refusal.
    """

    subject: str
    refused: str
    where: str
    fix: str


def printed(
    command: Sequence[str],
    work: Work,
    *,
    given: bytes = b"",
    environment: Mapping[str, str],
    seconds: float,
) -> str:
    """What a program prints that has nothing of the caller's own surroundings.

    ``environment`` is all that it has, with a home folder of its own, which is gone afterwards.

    Raises
    ------
    ConfigError
        It does not take what it is given, takes too long, or prints what is no text; ``found``
        has its own words.
    """
    program = Path(command[0]).name.partition("-")[0]
    try:
        with tempfile.TemporaryDirectory(prefix=f"provision-{program}-") as home:
            done = subprocess.run(
                command,
                input=given,
                capture_output=True,
                env={"HOME": home, "LC_ALL": "C.UTF-8", **environment},
                timeout=seconds,
                check=False,
            )
        text = done.stdout.decode()
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"{work.subject} takes too long to render",
            where=work.where,
            found=f"{program} was not done after {seconds:g} s",
            fix="correct what keeps it, or wait until this machine has less to do, then:"
            " provision plan",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{work.subject} makes something that is no UTF-8 text",
            where=work.where,
            found=f"the byte 0x{error.object[error.start]:02x}",
            fix="correct it there, then: provision plan",
        ) from error
    if done.returncode != 0:
        raise ConfigError(
            f"{work.subject} {work.refused}",
            where=work.where,
            found=done.stderr.decode(errors="replace").strip(),
            fix=work.fix,
        )
    return text


def executable(bundle: BundleView, name: str, architecture: str, folder: Path) -> Path:
    """An executable copy of one of the bundle's programs: files in a bundle are not executable.

    Raises
    ------
    BundleError
        The bundle has no such program that runs here, or a damaged one.
    """
    source = bundle.path(name, architecture)
    if os.access(source, os.X_OK):
        return source
    program = folder / f"{name}-{bundle.sha256(name, architecture)}"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as fresh:
            with source.open("rb") as content:
                shutil.copyfileobj(content, fresh)
            fresh.flush()
            os.fsync(fresh.fileno())
        Path(fresh.name).chmod(0o755)
        Path(fresh.name).replace(program)
    return program
