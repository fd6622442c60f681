"""Cuts what has to travel to a depot into batches that go over a connection one at a time.

A batch is held in memory, so its size bounds what a process needs; a blob
larger than a batch travels in several pieces.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BATCH = 64 * 2**20
"""Bytes in one batch; each batch costs the start of a process on the machine, about 0.2 s."""

RECEIVER = Path(__file__).parent / "plugins" / "module_utils" / "depot_content" / "receive.py"

BOOT = "import sys; i = sys.stdin.buffer; exec(i.read(int(i.readline())))"
"""Runs on the machine: the receiver's text comes first on standard input."""


@dataclass(frozen=True)
class Piece:
    """A part of a blob, in bytes."""

    sha256: str
    size: int
    """Of the whole blob."""
    offset: int
    length: int


def batches(
    blobs: Mapping[str, int], arrived: Mapping[str, int], limit: int = BATCH
) -> Iterator[list[Piece]]:
    """Group what is missing of ``blobs`` into batches of at most ``limit`` bytes.

    Parameters
    ----------
    blobs
        Size by sha256, of the blobs to send.
    arrived
        Bytes by sha256 that an interrupted run brought already.
    """
    batch: list[Piece] = []
    room = limit
    for sha256, size in blobs.items():
        offset = _start(size, arrived.get(sha256, 0))
        while True:
            length = min(size - offset, room)
            batch.append(Piece(sha256, size, offset, length))
            offset += length
            room -= length
            if room == 0:
                yield batch
                batch, room = [], limit
            if offset == size:
                break
    if batch:
        yield batch


def _start(size: int, arrived: int) -> int:
    # A blob that arrived as a whole was stopped just before it was hashed: its last byte is
    # sent again, so that the receiver comes to its end.
    return min(arrived, max(size - 1, 0))


def payload(batch: Sequence[Piece], source: Callable[[str], Path]) -> bytes:
    """What goes to the machine's standard input for one batch: the receiver, then the pieces.

    Parameters
    ----------
    source
        Where a blob lies on the controller, by its sha256.
    """
    receiver = RECEIVER.read_bytes()
    parts = [f"{len(receiver)}\n".encode(), receiver]
    for piece in batch:
        header = json.dumps(
            {
                "sha256": piece.sha256,
                "size": piece.size,
                "offset": piece.offset,
                "length": piece.length,
            }
        )
        with source(piece.sha256).open("rb") as file:
            file.seek(piece.offset)
            parts += [f"{header}\n".encode(), file.read(piece.length)]
    parts.append(b"end\n")
    return b"".join(parts)
