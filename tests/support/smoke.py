"""The example platform's smoke tester, as a module: what signs in and uses notebooks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

PROGRAM = (
    Path(__file__).resolve().parents[2] / "examples/platform/applications/smoke/files/smoke.py"
)

_spec = importlib.util.spec_from_file_location("platform_smoke", PROGRAM)
assert _spec is not None
assert _spec.loader is not None
smoke = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = smoke
_spec.loader.exec_module(smoke)
