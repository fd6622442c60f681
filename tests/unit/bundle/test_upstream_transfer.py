"""One file over HTTP from a server that misbehaves."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from provision.bundle.cancellation import Cancellation
from provision.bundle.transfer import Advance, Download, HttpSettings, Transfer
from provision.bundle.transfer_errors import Cancelled
from provision.errors import BundleError, DiskFullError, ExitCode
from tests.support.httpserver import FaultyServer, Turn

PATH = "/release/v1/bin/linux/amd64/kubelet"
CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = HttpSettings(connect_timeout=60, stall_timeout=300, tries=3, first_pause=0)
"""As patient as a machine at its limit needs it."""
IMPATIENT = replace(QUICK, stall_timeout=0.2)
"""For servers that do not go on at all."""


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer({PATH: CONTENT}) as server:
        yield server


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


Read = Callable[..., Path]


@pytest.fixture
def read(server: FaultyServer, tmp_path: Path) -> Read:
    def read(
        settings: HttpSettings = QUICK,
        *,
        url: str = "",
        sha256: str = SHA256,
        clock: Callable[[], float] = lambda: 0.0,
        cancelled: Cancellation | None = None,
        advance: Advance = lambda _done, _expected: None,
    ) -> Path:
        part = tmp_path / "part"
        transfer = Transfer(
            Download("kubelet", url or server.url + PATH, sha256),
            part,
            settings,
            cancelled=cancelled or Cancellation(),
            advance=advance,
            clock=clock,
        )
        transfer.run()
        return part

    return read


def ranges(server: FaultyServer) -> list[str]:
    return [asked.headers.get("Range", "all") for asked in server.gets(PATH)]


def test_a_file_arrives(server: FaultyServer, read: Read) -> None:
    assert read().read_bytes() == CONTENT
    assert ranges(server) == ["all"]


def test_a_cut_connection_resumes_where_it_broke(server: FaultyServer, read: Read) -> None:
    server.misbehave(PATH, Turn(cut_after=300_000), Turn(cut_after=400_000), Turn())
    assert read().read_bytes() == CONTENT
    assert ranges(server) == ["all", "bytes=300000-", "bytes=700000-"]
    assert "If-Range" in server.gets(PATH)[1].headers


def test_a_server_without_ranges_is_read_from_the_start(server: FaultyServer, read: Read) -> None:
    server.misbehave(PATH, Turn(cut_after=300_000), Turn(ignore_range=True))
    assert read().read_bytes() == CONTENT


def test_a_file_changed_between_two_tries_is_read_from_the_start(
    server: FaultyServer, read: Read
) -> None:
    server.misbehave(PATH, Turn(content=b"older" * 100_000, cut_after=300_000), Turn())
    assert read().read_bytes() == CONTENT


def test_pieces_of_two_files_are_thrown_away_once(server: FaultyServer, read: Read) -> None:
    unnamed = {"ETag": 'W/"weak"'}
    server.misbehave(
        PATH,
        Turn(content=b"older" * 300_000, cut_after=300_000, headers=unnamed),
        Turn(headers=unnamed),
    )
    assert read().read_bytes() == CONTENT
    assert ranges(server) == ["all", "bytes=300000-", "all"]


def test_what_an_earlier_run_left_is_resumed(
    server: FaultyServer, read: Read, tmp_path: Path
) -> None:
    (tmp_path / "part").write_bytes(CONTENT[:123_456])
    assert read().read_bytes() == CONTENT
    assert ranges(server) == ["bytes=123456-"]


def test_what_an_earlier_run_completed_is_not_read_again(
    server: FaultyServer, read: Read, tmp_path: Path
) -> None:
    (tmp_path / "part").write_bytes(CONTENT)
    assert read().read_bytes() == CONTENT
    assert server.asked == []


def test_rubbish_left_by_an_earlier_run_does_not_stop_it(
    server: FaultyServer, read: Read, tmp_path: Path
) -> None:
    (tmp_path / "part").write_bytes(b"x" * 2_000_000)
    assert read().read_bytes() == CONTENT
    assert ranges(server) == ["bytes=2000000-", "all"]


def test_a_wrong_checksum_is_refused_and_thrown_away(
    server: FaultyServer, read: Read, tmp_path: Path
) -> None:
    server.misbehave(PATH, Turn(content=b"<html>log in to the guest network</html>"))
    with pytest.raises(BundleError) as caught:
        read()
    error = caught.value
    found = hashlib.sha256(b"<html>log in to the guest network</html>").hexdigest()
    assert error.exit_code is ExitCode.BUNDLE
    assert error.where == server.url + PATH
    assert found in error.found
    assert "40 bytes" in error.found
    assert SHA256 in error.wanted
    assert "curl" in error.fix
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_checksum_behind_cuts_ends_too(server: FaultyServer, read: Read) -> None:
    server.misbehave(PATH, *[Turn(content=b"other" * 100_000, cut_after=200_000)] * 8)
    with pytest.raises(BundleError, match="not the file that was published"):
        read()
    assert len(server.asked) <= 8


def test_a_missing_file_is_told_at_once(server: FaultyServer, read: Read) -> None:
    with pytest.raises(BundleError) as caught:
        read(url=server.url + "/elsewhere")
    assert caught.value.found == "HTTP 404 Not Found"
    assert SHA256 in caught.value.wanted
    assert "--mirror" in caught.value.fix
    assert len(server.asked) == 1


def test_a_stalled_connection_is_given_up_and_resumed(server: FaultyServer, read: Read) -> None:
    server.misbehave(PATH, Turn(stall_after=500_000), Turn())
    assert read(replace(IMPATIENT, stall_timeout=2)).read_bytes() == CONTENT
    assert ranges(server) == ["all", "bytes=500000-"]


def test_a_server_that_never_answers_is_given_up(server: FaultyServer, read: Read) -> None:
    server.misbehave(PATH, Turn(silent=True))
    with pytest.raises(BundleError) as caught:
        read(IMPATIENT)
    assert "no answer within 0.2 s (try 3 of 3" in caught.value.found
    assert len(server.asked) == 3


def test_a_crawling_server_is_given_up_with_the_rate_seen(
    server: FaultyServer, read: Read, tmp_path: Path
) -> None:
    ticks = itertools.count()
    with pytest.raises(BundleError) as caught:
        read(
            replace(QUICK, slowest=2**30, slowness_window=60.0),
            clock=lambda: next(ticks) * 60.0,
        )
    assert "below 1073741824 bytes/s (try 3 of 3" in caught.value.found
    assert "--mirror" in caught.value.fix
    assert (tmp_path / "part").stat().st_size > 0
    assert len(server.asked) == 3


def test_a_broken_connection_is_tried_a_bounded_number_of_times(
    server: FaultyServer, read: Read, tmp_path: Path
) -> None:
    server.misbehave(PATH, Turn(cut_after=1000), Turn(cut_after=0))
    with pytest.raises(BundleError) as caught:
        read()
    assert "the connection broke" in caught.value.found
    assert "1000 bytes are kept" in caught.value.found
    assert len(server.asked) == 4
    assert (tmp_path / "part").read_bytes() == CONTENT[:1000]


def test_a_connection_that_always_breaks_at_the_same_byte_ends(
    server: FaultyServer, read: Read
) -> None:
    server.misbehave(PATH, Turn(cut_after=300_000, ignore_range=True))
    with pytest.raises(BundleError, match="cannot be downloaded"):
        read()
    assert len(server.asked) == 4


@pytest.mark.parametrize("announced", [len(CONTENT) + 1000, len(CONTENT) * 2])
def test_a_length_announced_too_long_does_not_matter(
    server: FaultyServer, read: Read, announced: int
) -> None:
    server.misbehave(PATH, Turn(announced=announced))
    assert read().read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_length_announced_too_short_is_a_wrong_checksum(server: FaultyServer, read: Read) -> None:
    server.misbehave(PATH, Turn(announced=1000))
    with pytest.raises(BundleError, match="not the file that was published") as caught:
        read()
    assert "1000 bytes" in caught.value.found


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server: FaultyServer, read: Read, status: int) -> None:
    server.misbehave(PATH, Turn(status=status), Turn())
    assert read().read_bytes() == CONTENT


def test_a_refused_connection_names_the_address(read: Read) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/kubelet"
        with pytest.raises(BundleError) as caught:
            read(url=url)
    assert "refused" in caught.value.found
    assert caught.value.where == url
    assert url in caught.value.fix


def test_a_failing_proxy_is_named_as_such(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(BundleError) as caught:
        read(url="http://files.example.org/kubelet")
    assert "proxy" in caught.value.found
    assert "HTTPS_PROXY" in caught.value.fix


def test_tls_that_is_not_believed_points_to_the_authority(server: FaultyServer, read: Read) -> None:
    with pytest.raises(BundleError) as caught:
        read(url=server.url.replace("http:", "https:") + PATH)
    assert "TLS failed" in caught.value.found
    assert "--ca-bundle" in caught.value.fix


def test_a_full_disk_is_seen_before_anything_is_written(
    server: FaultyServer, read: Read, tmp_path: Path
) -> None:
    free = shutil.disk_usage(tmp_path).free
    server.misbehave(PATH, Turn(announced=free * 2))
    with pytest.raises(DiskFullError) as caught:
        read()
    assert caught.value.where == str(tmp_path)
    assert "PROVISION_CACHE" in caught.value.fix
    assert not (tmp_path / "part").exists()


def test_cancelling_unblocks_a_stalled_read_and_keeps_what_came(
    server: FaultyServer, read: Read, tmp_path: Path
) -> None:
    server.misbehave(PATH, Turn(stall_after=500_000))
    cancelled = Cancellation()

    def cancel(done: int, _expected: int | None) -> None:
        if done == 500_000:
            Thread(target=cancelled.set).start()

    with pytest.raises(Cancelled):
        read(cancelled=cancelled, advance=cancel)
    assert (tmp_path / "part").read_bytes() == CONTENT[:500_000]


def test_the_body_is_kept_as_sent_whatever_its_encoding_claims(
    server: FaultyServer, read: Read
) -> None:
    server.misbehave(PATH, Turn(headers={"Content-Encoding": "gzip"}))
    assert read().read_bytes() == CONTENT
