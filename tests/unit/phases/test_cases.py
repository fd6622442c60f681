"""Every case of tests/cases: a site and facts, and what the phase decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.phase import Blocked, Run, Skip
from provision.plan import discover
from tests.support.cases import make_context, make_site, optional_components, read

CASES = Path(__file__).parents[2] / "cases"
PHASES = {phase.name: phase for phase in discover()}
OPTIONAL = set(optional_components())


def all_cases() -> list[Any]:
    return [
        pytest.param(name, case, id=f"{name}: {case['case']}")
        for name in PHASES
        for path in sorted((CASES / name).glob("*.yaml"))
        for case in yaml.safe_load(path.read_text("utf-8"))
        # A phase whose facts are more than its state tells its cases in its own words.
        if "case" in case
    ]


@pytest.mark.parametrize(("name", "case"), all_cases())
def test_the_phase_decides(
    name: str, case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phase = PHASES[name]
    monkeypatch.setenv("PROVISION_CACHE", str(tmp_path))
    context = make_context(make_site(case.get("site", {}), *OPTIONAL & {name}), tmp_path)
    decision = phase.decide(context, read(phase, context, case))
    assert type(decision).__name__.lower() == case["decision"]
    if isinstance(decision, Run):
        reasons = {host: list(texts) for host, texts in decision.reasons.items()}
        for host, expected in case["reasons"].items():
            # A list is all of them; a mapping names some that must be among them.
            if isinstance(expected, dict):
                assert set(expected["among"]) <= set(reasons[host])
            else:
                assert reasons[host] == expected
        assert list(decision.hosts) == list(case["reasons"])
        if "waves" in case:
            assert [list(wave) for wave in decision.waves] == case["waves"]
    if isinstance(decision, Skip):
        begins = case.get("attention", "")
        assert decision.attention.startswith(begins)
        assert bool(begins) == bool(decision.attention)
    if isinstance(decision, Blocked):
        assert list(decision.findings) == case["findings"]
