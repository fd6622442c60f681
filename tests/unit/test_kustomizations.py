"""Kustomizations: what kustomize is asked, and by what it may not be helped."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.errors import ConfigError
from provision.kustomizations import FETCHING, NOWHERE, PROGRAM, build
from provision.rendering import BundledProgram
from tests.support.cases import EveryBundle


class Kustomize(EveryBundle):
    """A bundle whose kustomize is a shell script, executable or not."""

    def __init__(self, program: Path) -> None:
        super().__init__()
        self.program = program

    def path(self, name: str, architecture: str) -> Path:
        assert name == "kustomize"
        return self.program


def built(folder: Path, script: str, mode: int = 0o755, seconds: float = 60) -> str:
    program = folder / "kustomize"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(mode)
    bundled = BundledProgram(Kustomize(program), PROGRAM, "amd64", folder / "cache", seconds)
    return build(bundled, folder / "web")


def test_it_gets_the_folder_and_neither_a_network_nor_git(tmp_path: Path) -> None:
    said = built(tmp_path, 'echo "$@; $PATH; $HTTPS_PROXY"; git || echo $?', mode=0o644)
    assert said == f"build -- {tmp_path}/web; ; {NOWHERE}\n127\n"


def test_what_it_does_not_take_is_told_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the kustomization web cannot be built") as caught:
        built(tmp_path, f'echo "Error: {FETCHING[1]}" >&2; exit 1')
    assert caught.value.found == f"Error: {FETCHING[1]}"


def test_one_that_takes_too_long_is_an_error_for_the_operator(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the kustomization web takes too long") as caught:
        built(tmp_path, "exec /bin/sleep 60", seconds=0.1)
    assert caught.value.found == "kustomize was not done after 0.1 s"
