"""Charts of a folder: what helm is asked, and what becomes of a helm that does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.charts import ChartRenderer
from provision.errors import ConfigError
from tests.support.cases import EveryBundle


class Helm(EveryBundle):
    """A bundle whose helm is a shell script."""

    def __init__(self, program: Path) -> None:
        super().__init__()
        self.program = program

    def path(self, name: str, architecture: str) -> Path:
        return self.program


def rendered(folder: Path, script: str, seconds: float = 60) -> str:
    program = folder / "helm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return ChartRenderer(Helm(program), "amd64", folder / "cache", seconds).template(
        folder / "chart",
        release="web",
        namespace="site",
        values={"text": "Grüße"},
        value_files=[folder / "values.yaml"],
        kubernetes="1.36.3",
    )


def test_helm_gets_values_and_nothing_from_the_repository_as_an_option(tmp_path: Path) -> None:
    said = rendered(tmp_path, 'echo "$@"; cat')
    assert said.splitlines()[-1] == r'{"text": "Gr\u00fc\u00dfe"}'
    assert f"--values - -- web {tmp_path}/chart\n" in said
    assert "--namespace site --kube-version 1.36.3 --include-crds" in said
    assert f"--values {tmp_path}/values.yaml --values -" in said


def test_a_helm_that_takes_too_long_is_an_error_for_the_operator(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the chart of web takes too long") as caught:
        rendered(tmp_path, "exec sleep 60", seconds=0.1)
    assert caught.value.found == "helm was not done after 0.1 s"


def test_what_is_no_text_is_an_error_for_the_operator(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no UTF-8 text") as caught:
        rendered(tmp_path, r"printf 'a: \377'")
    assert caught.value.found == "the byte 0xff"


def test_a_chart_that_is_refused_is_told_in_helms_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="refuses the values") as caught:
        rendered(tmp_path, r"printf 'no \377' >&2; exit 1")
    assert caught.value.found == "no \N{REPLACEMENT CHARACTER}"
