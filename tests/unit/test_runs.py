"""How past runs are listed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from provision.verbs.runs import list_runs


def test_the_columns_stand_below_each_other(tmp_path: Path) -> None:
    """The number of a process has as many digits as it likes."""
    (tmp_path / "runs").mkdir()
    for run in ("20261129T120000.000-9727", "20261129T130000.000-20295"):
        started = {"time": "2026-11-29T12:00:00.000Z", "event": "run-started", "command": "watch"}
        (tmp_path / "runs" / f"{run}.jsonl").write_text(json.dumps(started) + "\n")
    app: Any = SimpleNamespace(state=tmp_path)
    data, lines = list_runs(app)
    assert [item["run"][-5:] for item in data] == ["20295", "-9727"]
    assert {line.index("watch") for line in lines} == {27}
