from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from provision.ansible.work import ORIGINALS, apply_work, changes, diff, encoded, withdrawal
from provision.state import DesiredState, Directory, File, Unit

CONTENT = "port 7777\n"
SHA = hashlib.sha256(CONTENT.encode()).hexdigest()
FILE = File(
    "/etc/demo/conf",
    "0644",
    "root",
    "root",
    SHA,
    "content",
    content=CONTENT,
    restart=("demo.service",),
)
SECRET = File("/etc/demo/key", "0600", "root", "root", "5" * 64, "secret", name="demo/key")
BLOB = File("/usr/local/bin/demo", "0755", "root", "root", "b" * 64, "blob", name="demo")
DESIRED = DesiredState(
    packages=("socat",),
    modules=("overlay",),
    sysctls={"net.ipv4.ip_forward": "1"},
    directories=(Directory("/etc/demo", "0755", "root", "root"),),
    files=(FILE, SECRET, BLOB),
    absent=("/etc/demo-old",),
    units=(Unit("demo.service", enabled=True, active=True),),
)
RUNNING = {"enabled": True, "active": True, "state": "active", "restart_pending": False}


def there(file: File, **other: Any) -> dict[str, Any]:
    return {
        "type": "file",
        "sha256": file.sha256,
        "mode": file.mode,
        "owner": file.owner,
        "group": file.group,
        **other,
    }


def as_wanted() -> dict[str, Any]:
    return {
        "packages": {"socat": "1.7"},
        "modules": {"overlay": True},
        "sysctls": {"net.ipv4.ip_forward": "1"},
        "files": {
            "/etc/demo": {"type": "directory", "mode": "0755", "owner": "root", "group": "root"},
            **{file.path: there(file) for file in DESIRED.files},
            "/etc/demo-old": None,
        },
        "units": {"demo.service": dict(RUNNING)},
        "texts": {FILE.path: CONTENT},
        "globs": {f"{ORIGINALS}/*": []},
    }


def virgin() -> dict[str, Any]:
    observed = as_wanted()
    observed["packages"]["socat"] = None
    observed["modules"]["overlay"] = False
    observed["sysctls"]["net.ipv4.ip_forward"] = "0"
    observed["files"] = dict.fromkeys(observed["files"])
    observed["units"]["demo.service"] = {
        "enabled": False,
        "active": False,
        "state": "not found",
        "restart_pending": False,
    }
    observed["texts"] = {FILE.path: None}
    return observed


def contents(file: File) -> Mapping[str, Any]:
    return {"urls": ["https://depot/x"]} if file.source == "blob" else encoded(b"bytes")


def work_for(observed: Mapping[str, Any]) -> dict[str, Any]:
    return apply_work("demo", DESIRED, observed, contents)


def test_nothing_is_to_be_done_on_a_machine_that_is_as_wanted() -> None:
    work = work_for(as_wanted())
    assert changes(DESIRED, as_wanted()) == []
    assert work.pop("role") == "demo"
    # The digests are what the role keeps, not what is to be done.
    assert work.pop("digests") == {BLOB.path: BLOB.sha256}
    assert not any(work.values())


def test_a_virgin_machine_gets_everything() -> None:
    work = work_for(virgin())
    assert work["packages"] == ["socat"]
    assert work["modules"] == ["overlay"]
    assert work["sysctls"] == {"net.ipv4.ip_forward": "1"}
    assert [entry["path"] for entry in work["directories"]] == ["/etc/demo"]
    assert [entry["path"] for entry in work["files"]] == [file.path for file in DESIRED.files]
    assert work["restarts"] == ["demo.service"]
    assert work["units"] == [{"name": "demo.service", "enabled": True, "active": True}]
    assert work["has_secret"]


def test_only_the_damaged_file_is_placed_again_and_its_unit_restarted() -> None:
    observed = as_wanted()
    observed["files"][FILE.path] = there(FILE, sha256="0" * 64)
    work = work_for(observed)
    assert [entry["path"] for entry in work["files"]] == [FILE.path]
    assert work["restarts"] == ["demo.service"]
    assert work["units"] == []
    assert not work["has_secret"]


def test_a_wrong_mode_sends_no_content_and_restarts_nothing() -> None:
    observed = as_wanted()
    observed["files"][SECRET.path] = there(SECRET, mode="0644")
    work = work_for(observed)
    assert work["files"] == []
    assert work["permissions"] == [
        {"path": SECRET.path, "mode": "0600", "owner": "root", "group": "root"}
    ]
    assert work["restarts"] == []


def test_a_restart_that_a_crash_prevented_is_made_up_for() -> None:
    observed = as_wanted()
    observed["units"]["demo.service"]["restart_pending"] = True
    assert work_for(observed)["restarts"] == ["demo.service"]


def test_a_stopped_unit_is_started_but_not_enabled_again() -> None:
    observed = as_wanted()
    observed["units"]["demo.service"].update(active=False, state="inactive")
    assert work_for(observed)["units"] == [
        {"name": "demo.service", "enabled": None, "active": True}
    ]


def test_a_path_that_should_be_absent_is_removed() -> None:
    observed = as_wanted()
    observed["files"]["/etc/demo-old"] = {"type": "file"}
    assert work_for(observed)["absent"] == ["/etc/demo-old"]


def test_withdrawal_takes_everything_but_the_packages() -> None:
    work, listed = withdrawal("demo", DESIRED, as_wanted(), purge=False)
    assert work["units"] == ["demo.service"]
    assert work["files"] == [file.path for file in DESIRED.files]
    assert work["directories"] == ["/etc/demo"]
    assert work["packages"] == []
    assert {"kind": "file", "name": FILE.path, "found": "present", "wanted": "absent"} in listed


def test_withdrawal_with_purge_takes_the_packages_too() -> None:
    work, listed = withdrawal("demo", DESIRED, as_wanted(), purge=True)
    assert work["packages"] == ["socat"]
    assert listed[-1]["kind"] == "package"


def test_withdrawal_from_a_virgin_machine_changes_nothing() -> None:
    _, listed = withdrawal("demo", DESIRED, virgin(), purge=True)
    assert listed == []


def test_a_unit_that_is_kept_runs_on_without_the_roles_files() -> None:
    desired = replace(DESIRED, units=(replace(DESIRED.units[0], keep=True),))
    work, listed = withdrawal("demo", desired, as_wanted(), purge=False)
    assert work["units"] == []
    assert work["kept"] == ["demo.service"]
    assert "unit" not in {item["kind"] for item in listed}


HOSTS = replace(FILE, path="/etc/hosts", restore=True)
ONLY_HOSTS = DesiredState(files=(HOSTS,))


@pytest.mark.parametrize("record", ["%2Fetc%2Fhosts", "%2Fetc%2Fhosts.none"])
def test_withdrawal_puts_back_what_the_role_replaced(record: str) -> None:
    observed = {**as_wanted(), "files": {HOSTS.path: there(HOSTS)}, "units": {}, "packages": {}}
    observed["globs"] = {f"{ORIGINALS}/*": [f"{ORIGINALS}/{record}"]}
    work, listed = withdrawal("demo", ONLY_HOSTS, observed, purge=False)
    assert work["originals"] == ["/etc/hosts"]
    assert work["files"] == []
    assert [item["wanted"] for item in listed] == ["as it was before"]


def test_withdrawal_leaves_a_file_that_the_role_never_replaced() -> None:
    observed = {**as_wanted(), "files": {HOSTS.path: there(HOSTS)}, "units": {}, "packages": {}}
    assert withdrawal("demo", ONLY_HOSTS, observed, purge=False)[1] == []


@pytest.mark.parametrize("observed", [virgin(), as_wanted()])
def test_the_diff_shows_templates_and_never_a_secret(observed: dict[str, Any]) -> None:
    observed["files"][SECRET.path] = there(SECRET, sha256="1" * 64)
    observed["texts"][SECRET.path] = "the old secret"
    shown = "".join(
        part["prepared"] for part in diff(DESIRED, observed, changes(DESIRED, observed))
    )
    assert f"file {SECRET.path}: changed" in shown
    assert "the old secret" not in shown
    assert (f"+{CONTENT}" in shown) == (observed["files"][FILE.path] is None)
