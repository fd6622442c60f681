"""The secret store killed at every line of its code."""

from pathlib import Path

import pytest

from tests.support.crashing_store import kill_and_heal


@pytest.mark.soak
def test_a_kill_at_any_line_is_healed_by_the_next_run(tmp_path: Path) -> None:
    assert kill_and_heal(tmp_path / "crash", stride=1) > 1000
