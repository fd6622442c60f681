"""Keeping records: what is asked, what is sent to be changed, what is remembered."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from provision.ansible.plugins.module_utils.dns.failure import WorkError
from provision.ansible.plugins.module_utils.dns.records import Record
from provision.ansible.plugins.module_utils.dns.work import Keeper
from tests.support.nameserver import NameServer, name_server

ZONE = "z."
API = Record("api.z.", "A", ("192.0.2.100",), 300)
TEXT = Record("t.sub.z.", "TXT", ("hello",), 300)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Knot's programs; they write down how they are called. A file ``refuse`` makes them fail."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("knsupdate", "knotc"):
        (folder / name).write_text(
            f'#!/bin/sh\n(echo "{name} $*"; cat) >>{tmp_path}/called\n'
            f"[ ! -e {tmp_path}/refuse ] || {{ echo REFUSED; exit 1; }}\n"
        )
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path


def keeper(server: NameServer, folder: Path) -> Keeper:
    return Keeper(
        server.socket,
        {ZONE: [API], "sub.z.": [TEXT]},
        folder / "update.key",
        folder / "kept.json",
    )


def test_what_differs_is_changed_in_its_own_zone(programs: Path) -> None:
    (programs / "kept.json").write_text('["api.z. A", "old.sub.z. A", "t.sub.z. TXT"]\n')
    with name_server({"api.z. A": (300, ["192.0.2.66"]), "t.sub.z. TXT": (300, ["hello"])}) as up:
        work = keeper(up, programs)
        assert work.differences() == [
            "record api.z. A is 192.0.2.66, wanted 192.0.2.100",
            "record old.sub.z. A is still kept, wanted gone",
            f"file {programs}/kept.json is not the list of kept records, wanted that list",
        ]
        work.change()
        host, port = up.socket.split(":")
    call = f"knsupdate -k {programs}/update.key\nserver {host} {port}\n"
    assert (programs / "called").read_text() == (
        f"{call}zone z.\ndel api.z. CNAME\ndel api.z. A\nadd api.z. 300 A 192.0.2.100\nsend\nquit\n"
        f"{call}zone sub.z.\ndel old.sub.z. A\nsend\nquit\n"
    )
    assert json.loads((programs / "kept.json").read_text()) == ["api.z. A", "t.sub.z. TXT"]


def test_a_copy_takes_only_the_zones_that_differ(programs: Path) -> None:
    with name_server({"api.z. A": (300, ["192.0.2.100"])}) as up:
        work = keeper(up, programs)
        work.differences()
        work.copy()
    called = (programs / "called").read_text()
    assert called == "knotc --blocking --timeout=60 zone-retransfer sub.z.\n"


def test_nothing_is_remembered_of_what_was_refused(programs: Path) -> None:
    (programs / "refuse").touch()
    with name_server({}) as up:
        work = keeper(up, programs)
        work.differences()
        with pytest.raises(WorkError, match="REFUSED"):
            work.change()
    assert not (programs / "kept.json").exists()


def test_nothing_differs_where_all_is_well(programs: Path) -> None:
    (programs / "kept.json").write_text('["api.z. A", "t.sub.z. TXT"]\n')
    with name_server({"api.z. A": (300, ["192.0.2.100"]), "t.sub.z. TXT": (300, ["hello"])}) as up:
        assert keeper(up, programs).differences() == []
