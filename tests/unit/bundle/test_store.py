"""Blobs are whole or absent, and archives depend on their content alone."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.bundle.archive import EPOCH, Member, read_members, tree_members, write_tar
from provision.bundle.results import Output, Result, Results, recipe_key
from provision.bundle.store import Blob, BlobStore, require_space, write_atomically
from provision.errors import DiskFullError


class _Buffer(io.RawIOBase):
    def __init__(self) -> None:
        super().__init__()
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, chunk: bytes) -> int:  # type: ignore[override]
        self.content += chunk
        return len(chunk)


def _tar(members: list[Member]) -> bytes:
    buffer = _Buffer()
    write_tar(members, buffer)
    return bytes(buffer.content)


def test_a_blob_is_named_by_its_bytes(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    blob = store.add_bytes(b"content")
    assert blob == Blob(hashlib.sha256(b"content").hexdigest(), 7)
    assert store.holds(blob)
    assert store.intact(blob)
    assert store.all() == {blob.sha256}


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)

    def interrupted() -> None:
        with store.writer() as writer:
            writer.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(store.folder.iterdir()) == []


def test_a_changed_blob_is_not_intact(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    blob = store.add_bytes(b"content")
    path = store.path(blob.sha256)
    path.chmod(0o644)
    path.write_bytes(b"CONTENT")
    assert store.holds(blob)
    assert not store.intact(blob)


def test_a_result_without_its_bytes_counts_as_none(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs")
    results = Results(tmp_path / "steps", store)
    blob = store.add_bytes(b"binary")
    result = Result(outputs={"binary": Output(sha256=blob.sha256, size=blob.size)})
    results.write("key", result)
    assert results.read("key") == result
    store.remove(blob.sha256)
    assert results.read("key") is None
    results.path("key").write_bytes(b"{")
    assert results.read("key") is None
    assert results.read("other") is None


def test_recipes_differ_by_any_value() -> None:
    assert recipe_key(a=1, b=2) == recipe_key(b=2, a=1)
    assert recipe_key(a=1, b=2) != recipe_key(a=1, b=3)


def test_too_small_a_disk_is_refused_early(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="not enough disk space for the test") as caught:
        require_space(tmp_path, 1 << 60, "the test")
    assert "PROVISION_CACHE" in caught.value.fix
    require_space(tmp_path, 1, "the test")


def test_an_atomic_write_replaces_as_a_whole(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", b"one")
    write_atomically(tmp_path / "file", b"two", mode=0o600)
    assert (tmp_path / "file").read_bytes() == b"two"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


_NAME = st.text(alphabet="abc", min_size=1, max_size=3)
_PATHS = st.lists(st.lists(_NAME, min_size=2, max_size=4).map("/".join), unique=True, max_size=8)


@settings(deadline=None)
@given(paths=_PATHS, seed=st.randoms(use_true_random=False))
def test_an_archive_depends_on_its_content_alone(paths: list[str], seed: Random) -> None:
    members = [Member(f"{path}.txt", content=path.encode()) for path in paths]
    shuffled = members[:]
    seed.shuffle(shuffled)
    first = _tar(members)
    assert first == _tar(shuffled)
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:
        infos = tar.getmembers()
    names = [info.name for info in infos]
    assert names == sorted(names)
    assert {(info.mtime, info.uid, info.gid, info.uname) for info in infos} <= {(EPOCH, 0, 0, "")}
    for info in infos:
        parent = info.name.rpartition("/")[0]
        assert not parent or parent in names


def test_a_tree_goes_through_an_archive(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner" / "script").write_bytes(b"#!")
    (tree / "inner" / "script").chmod(0o700)
    (tree / "link").symlink_to("inner/script")
    (tmp_path / "tree.tar").write_bytes(_tar(list(tree_members(tree))))
    found = read_members(tmp_path / "tree.tar", "lib/")
    assert found == (
        Member("lib/inner", "folder"),
        Member("lib/inner/script", content=b"#!", mode=0o755),
        Member("lib/link", "link", target="inner/script"),
    )
