"""A depot's content from the controller's blobs to the registry's folder, in real files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.ansible.pieces import BATCH, RECEIVER, Piece, batches, payload
from provision.ansible.plugins.module_utils.depot_content import receive
from provision.ansible.plugins.module_utils.depot_content.store import Store
from provision.ansible.plugins.module_utils.site_state.failure import WorkError
from provision.depot_content import content_differences
from provision.depot_tree import DepotTree
from provision.facts import Query
from tests.support.depot import DepotBundle, read, sha256

SMALL, LARGE, EMPTY = b"a small blob", bytes(range(256)) * 40, b""


@dataclass
class Machine:
    """A machine's depot, and the bundle that it is loaded from."""

    root: Path
    bundle: DepotBundle

    @property
    def folder(self) -> Path:
        return self.root / "depot"

    @property
    def digests(self) -> Path:
        return self.root / "digests" / "depot_load.json"

    @property
    def tree(self) -> DepotTree:
        return DepotTree.of(self.bundle)

    @property
    def store(self) -> Store:
        return Store(self.folder, self.digests, self.root)

    def batches(self, limit: int = BATCH) -> list[list[Piece]]:
        answer = self.store.read({name: [] for name in QUERY} | {"system": False})
        wanted = self.differences_blobs()
        blobs = {name: self.tree.blobs[name] for name in wanted}
        return list(batches(blobs, answer["partial"], limit))

    def differences_blobs(self) -> tuple[str, ...]:
        return content_differences(self.tree, str(self.folder), self.observed()).wanted_blobs

    def observed(self) -> dict[str, object]:
        return read(self.tree, self.folder)

    def send(self, batch: list[Piece], cut: int | None = None) -> list[str]:
        """Hand a batch to the receiver; ``cut`` breaks the connection after so many bytes."""
        data = payload(batch, self.bundle.blob)
        receiver = RECEIVER.read_bytes()
        start = len(f"{len(receiver)}\n") + len(receiver)
        stream = io.BytesIO(data[start:][:cut])
        return receive.receive(stream, self.folder, self.digests, self.root / "lock")

    def complete(self) -> None:
        self.store.complete(self.tree.blobs, self.tree.links, self.tree.bundle)

    def load(self) -> int:
        """Everything that the action does; the bytes that travelled."""
        sent = 0
        for batch in self.batches():
            self.send(batch)
            sent += sum(piece.length for piece in batch)
        self.complete()
        return sent


QUERY = tuple(name for name in Query.__annotations__ if name != "system")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, DepotBundle(tmp_path / "bundle", [SMALL, LARGE, EMPTY]))


def test_the_whole_bundle_arrives_and_nothing_differs_then(machine: Machine) -> None:
    assert machine.load() == len(SMALL) + len(LARGE)
    found = content_differences(machine.tree, str(machine.folder), machine.observed())
    assert not found
    assert receive.data_file(machine.folder, sha256(LARGE)).read_bytes() == LARGE
    assert machine.load() == 0


def test_everything_is_readable_by_the_registry_and_writable_by_nobody(machine: Machine) -> None:
    machine.load()
    modes = {path.stat().st_mode & 0o777 for path in machine.folder.rglob("*") if path.is_file()}
    assert modes == {0o444}
    modes = {path.stat().st_mode & 0o777 for path in machine.folder.rglob("*") if path.is_dir()}
    assert modes == {0o755}


def test_a_blob_larger_than_a_batch_travels_in_pieces(machine: Machine) -> None:
    pieces = machine.batches(limit=1000)
    assert len(pieces) > 10
    assert max(sum(piece.length for piece in batch) for batch in pieces) == 1000
    for batch in pieces:
        machine.send(batch)
    machine.complete()
    assert receive.data_file(machine.folder, sha256(LARGE)).read_bytes() == LARGE


def test_an_interrupted_blob_goes_on_where_it_stopped(machine: Machine) -> None:
    (batch,) = machine.batches()
    with pytest.raises(receive.ReceiveError, match="connection broke"):
        machine.send(batch, cut=6000)
    assert receive.data_file(machine.folder, sha256(SMALL)).is_file()
    arrived = receive.partial_file(machine.folder, sha256(LARGE)).stat().st_size
    assert 0 < arrived < len(LARGE)
    assert machine.load() == len(LARGE) - arrived
    assert receive.data_file(machine.folder, sha256(LARGE)).read_bytes() == LARGE


def test_a_blob_that_was_whole_but_not_yet_judged_is_finished(machine: Machine) -> None:
    partial = receive.partial_file(machine.folder, sha256(LARGE))
    receive.make_folder(partial.parent)
    partial.write_bytes(LARGE)
    assert machine.load() == len(SMALL) + 1
    assert receive.data_file(machine.folder, sha256(LARGE)).read_bytes() == LARGE


def test_other_bytes_than_the_name_says_are_refused(machine: Machine) -> None:
    machine.bundle.blob(sha256(LARGE)).write_bytes(LARGE[:-1] + b"x")
    (batch,) = machine.batches()
    with pytest.raises(receive.ReceiveError, match=f"sha256:{sha256(LARGE)} arrived with"):
        machine.send(batch)
    assert not receive.data_file(machine.folder, sha256(LARGE)).exists()
    assert not receive.partial_file(machine.folder, sha256(LARGE)).exists()
    assert receive.data_file(machine.folder, sha256(SMALL)).is_file()


def test_a_missing_blob_is_brought_alone(machine: Machine) -> None:
    machine.load()
    receive.data_file(machine.folder, sha256(SMALL)).unlink()
    assert machine.differences_blobs() == (sha256(SMALL),)
    assert machine.load() == len(SMALL)


def test_a_damaged_blob_of_the_same_size_is_brought_again(machine: Machine) -> None:
    machine.load()
    path = receive.data_file(machine.folder, sha256(LARGE))
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(b"damage")
    path.chmod(0o444)
    assert machine.differences_blobs() == (sha256(LARGE),)
    assert machine.load() == len(LARGE)
    assert path.read_bytes() == LARGE


def test_another_bundle_brings_new_blobs_and_drops_old_ones(machine: Machine) -> None:
    machine.load()
    new = b"a new blob"
    machine.bundle = DepotBundle(machine.root / "bundle2", [SMALL, new], "sha256:" + "c" * 64)
    assert machine.load() == len(new)
    names = {path.parent.name for path in machine.folder.rglob("data")}
    assert names == {sha256(SMALL), sha256(new)}
    assert (machine.folder / "bundle").read_text() == f"{machine.bundle.digest}\n"
    assert not content_differences(machine.tree, str(machine.folder), machine.observed())


def test_a_changed_link_and_a_closed_file_are_put_right(machine: Machine) -> None:
    machine.load()
    link = machine.folder / next(iter(machine.tree.links))
    link.chmod(0o644)
    link.write_text("sha256:0")
    blob = receive.data_file(machine.folder, sha256(SMALL))
    blob.chmod(0o000)
    found = content_differences(machine.tree, str(machine.folder), machine.observed())
    assert found.closed == (str(blob),)
    assert found.links == (str(link),)
    assert machine.load() == 0
    assert not content_differences(machine.tree, str(machine.folder), machine.observed())


def test_what_is_missing_at_the_end_is_named_and_the_stamp_not_written(machine: Machine) -> None:
    with pytest.raises(WorkError, match=f"sha256:{sha256(SMALL)} is not in"):
        machine.complete()
    assert not (machine.folder / "bundle").exists()


def test_verifying_reads_every_byte_and_tells_the_plan(machine: Machine) -> None:
    machine.load()
    path = receive.data_file(machine.folder, sha256(LARGE))
    path.chmod(0o644)
    path.write_bytes(LARGE[::-1])
    path.chmod(0o444)
    # As if the disk had changed the bytes: what was noted of the file still fits it.
    noted = receive.known(machine.digests)
    noted[str(path)] = [sha256(LARGE), *receive.fingerprint(path)]
    receive.note(machine.digests, noted)
    found = machine.store.verify(machine.tree.blobs, forget=True)
    assert found == {sha256(LARGE): f"damaged, its sha256 is {sha256(LARGE[::-1])}"}
    assert str(path) not in receive.known(machine.digests)
    receive.data_file(machine.folder, sha256(SMALL)).unlink()
    assert machine.store.verify(machine.tree.blobs, forget=False)[sha256(SMALL)] == "missing"


def test_what_does_not_stay_is_not_noted(machine: Machine, tmp_path: Path) -> None:
    order = payload([Piece(sha256(SMALL), len(SMALL), 0, len(SMALL))], machine.bundle.blob)
    stream = io.BytesIO(order)
    stream.read(int(stream.readline()))
    lock = tmp_path / "lock"
    assert receive.receive(stream, machine.folder, None, lock) == [sha256(SMALL)]
    assert not machine.digests.exists()


def test_removal_leaves_nothing_but_the_folder(machine: Machine) -> None:
    machine.load()
    machine.store.remove()
    assert list(machine.folder.iterdir()) == []
    assert not machine.digests.exists()


def test_the_free_space_of_a_depot_to_come_is_known(machine: Machine) -> None:
    assert machine.store.read({name: [] for name in QUERY} | {"system": False})["free"] > 0


def test_an_offset_behind_what_is_there_is_refused(machine: Machine) -> None:
    piece = Piece(sha256(LARGE), len(LARGE), 100, 10)
    with pytest.raises(receive.ReceiveError, match="was changed while"):
        machine.send([piece])
