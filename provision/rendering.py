"""Run the bundle's own programs on the controller that make objects of what people wrote."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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


class BundledProgram:
    """One of the bundle's programs, which has nothing of the caller's own surroundings.

    Parameters
    ----------
    bundle
        Where it comes from.
    name
        Its name there.
    architecture
        The controller's own, in Debian's words.
    cache
        Folder for an executable copy, since files in a bundle are not executable.
    seconds
        Time that it has each time.
    """

    def __init__(
        self,
        bundle: BundleView,
        name: str,
        architecture: str,
        cache: Path,
        seconds: float = SECONDS,
    ) -> None:
        self.bundle = bundle
        self.name = name
        self.architecture = architecture
        self.cache = cache
        self.seconds = seconds

    def path(self) -> Path:
        """The executable.

        Raises
        ------
        BundleError
            The bundle has no such program that runs here, or a damaged one.
        """
        return self._path

    @cached_property
    def _path(self) -> Path:
        """Kept, since all of it is read to see that it is whole."""
        source = self.bundle.path(self.name, self.architecture)
        if os.access(source, os.X_OK):
            return source
        program = self.cache / f"{self.name}-{self.bundle.sha256(self.name, self.architecture)}"
        if not program.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.cache, delete=False) as fresh:
                with source.open("rb") as content:
                    shutil.copyfileobj(content, fresh)
                fresh.flush()
                os.fsync(fresh.fileno())
            Path(fresh.name).chmod(0o755)
            Path(fresh.name).replace(program)
        return program

    def printed(
        self,
        arguments: Sequence[str],
        work: Work,
        *,
        given: bytes = b"",
        environment: Mapping[str, str],
    ) -> str:
        """What it prints. ``environment`` and a home folder, gone afterwards, are all it has.

        Raises
        ------
        ConfigError
            It does not take what it is given, takes too long, or prints what is no text;
            ``found`` has its own words.
        BundleError
            As :meth:`path`.
        """
        try:
            with tempfile.TemporaryDirectory(prefix=f"provision-{self.name}-") as home:
                done = subprocess.run(
                    [str(self.path()), *arguments],
                    input=given,
                    capture_output=True,
                    env={"HOME": home, "LC_ALL": "C.UTF-8", **environment},
                    timeout=self.seconds,
                    check=False,
                )
            text = done.stdout.decode()
        except subprocess.TimeoutExpired as error:
            raise ConfigError(
                f"{work.subject} takes too long to render",
                where=work.where,
                found=f"{self.name} was not done after {self.seconds:g} s",
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
