"""What shared_storage refuses, and how it mounts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provision.phases.shared_storage import SharedStoragePhase, mount_unit
from tests.support.cases import make_context, make_site

PHASE = SharedStoragePhase()
NFS = {"kind": "nfs", "source": "files.example.org:/export"}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"source": "/export"}, "shared_storage.source /export names no server"),
        ({"kind": "bind"}, "files.example.org:/export must be an absolute path for a bind"),
        ({"kind": "bind", "source": "/srv/shared"}, "is the source itself; choose another"),
        ({"path": "/var/lib/shared"}, "/var/lib/shared is a folder of the system's"),
        ({"path": "/shared"}, "/shared is a folder of the system's, or too near the root"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], problem: str) -> None:
    [found] = PHASE.validate_site(make_site({"shared_storage": {**NFS, **settings}}))
    assert problem in found


def test_a_file_server_is_fine() -> None:
    assert list(PHASE.validate_site(make_site({"shared_storage": NFS}))) == []


def mounted(settings: dict[str, Any], folder: Path) -> tuple[tuple[str, ...], str]:
    """Packages, and the mount's unit."""
    context = make_context(make_site({"shared_storage": settings}), folder)
    desired = PHASE.desired(context, "n4")
    return desired.packages, desired.files[0].content or ""


def test_each_kind_is_mounted_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_CACHE", str(tmp_path))
    packages, unit = mounted({**NFS, "options": ["vers=4.2", "hard"]}, tmp_path)
    assert packages == ("nfs-common",)
    assert "What=files.example.org:/export\nWhere=/srv/shared\nType=nfs4\n" in unit
    assert "Options=vers=4.2,hard,_netdev\n" in unit
    packages, unit = mounted({"kind": "bind", "source": "/gpfs/site"}, tmp_path)
    assert packages == ()
    assert "Options=bind,_netdev\n" in unit


def test_a_mount_is_named_as_systemd_wants() -> None:
    assert mount_unit("/srv/shared-one") == r"srv-shared\x2done.mount"
