from __future__ import annotations

import grp
import os
import pwd
from typing import Any

import pytest


@pytest.fixture
def mine() -> dict[str, str]:
    """Permissions that belong to whoever runs the tests."""
    return {
        "mode": "0640",
        "owner": pwd.getpwuid(os.getuid()).pw_name,
        "group": grp.getgrgid(os.getgid()).gr_name,
    }


@pytest.fixture
def observed() -> dict[str, Any]:
    """A machine that has nothing."""
    return {"packages": {}, "modules": {}, "sysctls": {}, "files": {}, "units": {}, "texts": {}}
