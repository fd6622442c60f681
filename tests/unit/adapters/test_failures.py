"""Every case of tests/cases/failures: what the worker reports, and what the operator is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.adapters.failures import Kind, explain
from tests.unit.adapters.conftest import site_of

CASES = yaml.safe_load(
    (Path(__file__).parents[2] / "cases" / "failures" / "machines.yaml").read_text("utf-8")
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["case"]))
def test_case(case: Mapping[str, Any]) -> None:
    error = explain(site_of(**case.get("connection", {})), "n1", case["reply"])
    for field, text in case["wanted"].items():
        assert text in getattr(error, field)
    assert error.exit_code == case.get("exit_code", 4)
    assert error.fix


def test_every_kind_has_a_case() -> None:
    assert {case["reply"]["kind"] for case in CASES} == {kind.value for kind in Kind}
