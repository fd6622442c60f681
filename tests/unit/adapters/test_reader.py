"""The script that runs on machines, run here."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from provision.adapters import payload, reader
from provision.adapters.onmachine import kernel, network
from provision.facts import Query
from tests.support.httpserver import FaultyServer, Turn
from tests.support.tls import server_context

TRAVELLING = [
    Path(reader.__file__),
    *sorted(Path(kernel.__file__).parent.glob("*.py")),
]


def answer(query: Query, state: Path = Path("/nonexistent")) -> dict[str, Any]:
    return reader.answer(query.as_dict(), state)


def files(*paths: Path, state: Path = Path("/nonexistent")) -> Mapping[str, Any]:
    names = frozenset(map(str, paths))
    found: Mapping[str, Any] = answer(Query(files=names), state)["files"]
    assert set(found) == names
    return found


def test_an_empty_query_has_every_section() -> None:
    assert answer(Query()) == {
        "files": {},
        "texts": {},
        "globs": {},
        "units": {},
        "sysctls": {},
        "modules": {},
        "packages": {},
        "connect": {},
        "names": {},
        "postgresql": {},
        "system": {},
        "etcd": {},
    }


def test_files_of_every_kind(tmp_path: Path) -> None:
    file, link, pipe = tmp_path / "file", tmp_path / "link", tmp_path / "pipe"
    file.write_bytes(b"content")
    file.chmod(0o640)
    link.symlink_to(file)
    os.mkfifo(pipe)
    found = files(file, link, pipe, tmp_path, tmp_path / "none", file / "below")
    assert found[str(file)]["type"] == "file"
    assert found[str(file)]["mode"] == "0640"
    assert found[str(file)]["size"] == 7
    assert found[str(file)]["sha256"] == hashlib.sha256(b"content").hexdigest()
    assert found[str(link)]["type"] == "link"
    assert found[str(link)]["target"] == str(file)
    assert found[str(pipe)]["type"] == "other"
    assert found[str(tmp_path)]["type"] == "directory"
    assert found[str(tmp_path / "none")] is None
    assert found[str(file / "below")] is None


def remember(state: Path, file: Path, digest: str) -> None:
    (state / "digests").mkdir(exist_ok=True, parents=True)
    entry = [digest, *reader.fingerprint(file.stat())]
    (state / "digests" / "role.json").write_text(json.dumps({str(file): entry}))


def test_an_unchanged_file_is_not_hashed_again(tmp_path: Path) -> None:
    file = tmp_path / "binary"
    file.write_bytes(b"content")
    remember(tmp_path, file, "remembered")
    assert files(file, state=tmp_path)[str(file)]["sha256"] == "remembered"


def test_a_file_changed_in_place_is_hashed_again(tmp_path: Path) -> None:
    file = tmp_path / "binary"
    file.write_bytes(b"content")
    remember(tmp_path, file, "remembered")
    status = file.stat()
    file.write_bytes(b"CONTENT")
    # Same size, and the times of the content put back as somebody might.
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (
        files(file, state=tmp_path)[str(file)]["sha256"] == hashlib.sha256(b"CONTENT").hexdigest()
    )


def test_a_torn_record_of_digests_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "binary"
    file.write_bytes(b"content")
    remember(tmp_path, file, "remembered")
    (tmp_path / "digests" / "role.json").write_text('{"/x": [1')
    assert (
        files(file, state=tmp_path)[str(file)]["sha256"] == hashlib.sha256(b"content").hexdigest()
    )


def test_texts(tmp_path: Path) -> None:
    small, binary, big = tmp_path / "small", tmp_path / "binary", tmp_path / "big"
    small.write_text("text\n")
    binary.write_bytes(b"\xff\xfe")
    big.write_bytes(b"x" * (reader.TEXT_LIMIT + 1))
    paths = [small, binary, big, tmp_path / "none", tmp_path]
    found = answer(Query(texts=frozenset(map(str, paths))))["texts"]
    assert [found[str(path)] for path in paths] == ["text\n", None, None, None, None]


def test_globs(tmp_path: Path) -> None:
    for name in ("b.conf", "a.conf", "c.txt"):
        (tmp_path / name).touch()
    pattern = f"{tmp_path}/*.conf"
    assert answer(Query(globs=frozenset({pattern})))["globs"] == {
        pattern: [f"{tmp_path}/a.conf", f"{tmp_path}/b.conf"]
    }


def test_sysctls() -> None:
    name = "kernel.ostype"
    assert answer(Query(sysctls=frozenset({name, "no.such"})))["sysctls"] == {
        name: "Linux",
        "no.such": None,
    }


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (
            {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"},
            {"enabled": True, "active": True, "state": "active"},
        ),
        (
            {"LoadState": "loaded", "ActiveState": "activating", "UnitFileState": "enabled"},
            {"enabled": True, "active": False, "state": "activating"},
        ),
        (
            {"LoadState": "loaded", "ActiveState": "failed", "UnitFileState": "disabled"},
            {"enabled": False, "active": False, "state": "failed"},
        ),
        (
            {"LoadState": "loaded", "ActiveState": "reloading", "UnitFileState": "static"},
            {"enabled": False, "active": True, "state": "reloading"},
        ),
        (
            {"LoadState": "not-found", "ActiveState": "inactive", "UnitFileState": ""},
            {"enabled": False, "active": False, "state": "not found"},
        ),
        (
            # Its file is gone, but it runs on.
            {"LoadState": "not-found", "ActiveState": "active", "UnitFileState": ""},
            {"enabled": False, "active": True, "state": "active"},
        ),
    ],
)
def test_unit_state(shown: dict[str, str], wanted: Mapping[str, Any]) -> None:
    assert reader.unit_state(shown) == wanted


def test_a_unit_that_was_not_restarted_is_marked(tmp_path: Path) -> None:
    (tmp_path / "restart-pending").mkdir()
    (tmp_path / "restart-pending" / "a.service").touch()
    found = answer(Query(units=frozenset({"a.service", "b.service"})), tmp_path)["units"]
    assert found["a.service"]["restart_pending"]
    assert not found["b.service"]["restart_pending"]


def test_a_listener_and_a_refusal_both_count_as_reached() -> None:
    found = answer(Query(connect=frozenset({"127.0.0.1:1", "[::1]:1"})))["connect"]
    assert found["127.0.0.1:1"] is True


def test_a_registry_has_to_answer_by_a_trusted_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(server: FaultyServer) -> bool | str:
        (said,) = answer(Query(connect=frozenset({server.url.replace("http:", "https:")})))[
            "connect"
        ].values()
        return cast("bool | str", said)

    context, ca = server_context(tmp_path)
    with FaultyServer(context=context) as server:
        assert "certificate" in str(asked(server))
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
        server.misbehave("/v2/", Turn(status=401), Turn(status=503))
        assert asked(server) is True
        assert asked(server) == "HTTP status 503"
    assert "refused" in str(asked(server))
    with FaultyServer() as plain:
        assert asked(plain) is not True


@pytest.mark.parametrize("name", ["registry..example.org", f"{'a' * 64}.example.org"])
def test_a_registry_that_no_name_can_be_is_one_that_does_not_answer(name: str) -> None:
    assert network.connect([f"https://{name}"]) == {
        f"https://{name}": "no name that DNS could have"
    }
    (said,) = network.connect([f"https://{name}:5x"]).values()
    assert "5x" in str(said)


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("192.0.2.1:6443", ("192.0.2.1", 6443)),
        ("192.0.2.1", ("192.0.2.1", None)),
        ("[2001:db8::1]:6443", ("2001:db8::1", 6443)),
        ("2001:db8::1", ("2001:db8::1", None)),
    ],
)
def test_what_connect_takes(target: str, wanted: tuple[str, int | None]) -> None:
    assert network._split(target) == wanted


def test_addresses_of_the_kernel_s_tables() -> None:
    if sys.byteorder == "little":
        assert network._address("0100007F") == "127.0.0.1"
        assert network._address("00000000000000000000000001000000") == "::1"


def test_what_check_asks_for_is_answered_here() -> None:
    found = answer(Query(system=True))["system"]
    assert found["interfaces"]["lo"]["addresses"][0] == "127.0.0.1/8"
    assert found["memory_bytes"] > 0
    assert found["disks"]["/"]["mount"] == "/"
    assert set(found["kernel"]["features"].values()) <= {True, False, None}


def test_the_program_travels_and_answers(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("x")
    request = json.dumps(Query(texts=frozenset({str(text)}), system=True).as_dict())
    lines = ["a password that sudo did not want", *payload.stdin(payload.READER, request)]
    done = subprocess.run(
        ["sh", "-c", payload._PYTHON],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["texts"] == {str(text): "x"}
    assert found["system"]["architecture"] in ("amd64", "arm64")
    assert found["clock"]["finished"] >= found["clock"]["started"]


@pytest.mark.parametrize("path", TRAVELLING, ids=lambda path: path.name)
def test_what_travels_needs_python_3_9_and_its_library_alone(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module)
    foreign = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    assert all(
        name == "provision.adapters.reader" or name.startswith("provision.adapters.onmachine")
        for name in foreign
    )


def test_who_has_an_address_is_asked_and_told_by_arp() -> None:
    own, other = bytes.fromhex("525400000001"), bytes.fromhex("525400000002")
    asked = network.arp_request(own, "192.0.2.1", "192.0.2.100")
    assert asked.hex(" ", 2) == (
        "ffff ffff ffff 5254 0000 0001 0806"
        " 0001 0800 0604 0001 5254 0000 0001 c000 0201 0000 0000 0000 c000 0264"
    )
    assert not network.is_arp_reply(asked, "192.0.2.1"), "who asks does not answer"
    told = own + other + asked[12:20] + b"\0\2" + other + asked[38:42] + asked[22:32]
    assert network.is_arp_reply(told, "192.0.2.100")
    assert not network.is_arp_reply(told, "192.0.2.1")
