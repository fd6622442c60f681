"""Records, and how they stand against what a server answers. Pure.

The plan judges by this file, and so does the Ansible module ``dns_records`` on
the machine: standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

GOOD = ("NOERROR", "NXDOMAIN")
RESOLVER = "resolver"
"""Stands for a machine's own name servers, in a question."""


@dataclass(frozen=True)
class Record:
    """All values of one type at one name."""

    name: str
    """Absolute, with a dot at its end, in lower case."""
    type: str
    values: tuple[str, ...]
    ttl: int
    """Seconds for which others may remember it."""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Record:
        """From plain data."""
        return cls(data["name"], data["type"], tuple(data["values"]), data["ttl"])

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "values": list(self.values)}

    @property
    def key(self) -> str:
        """Name and type."""
        return f"{self.name} {self.type}"


def question(server: str, record: Record) -> str:
    """What to ask ``server`` (``address:port``) to learn how ``record`` stands."""
    return f"{server} {record.key}"


def difference(record: Record, answer: Mapping[str, Any]) -> tuple[str, str] | None:
    """What was found and what is wanted, or None where ``answer`` is as it should be."""
    wanted = ", ".join(record.values)
    if answer["status"] not in GOOD:
        return answer["status"], wanted
    if answer["alias"] and record.type != "CNAME":
        return f"another name for {answer['alias']}", wanted
    if set(answer["values"]) != set(record.values):
        return ", ".join(sorted(answer["values"])) or "missing", wanted
    if answer["ttl"] != record.ttl:
        return f"kept for {answer['ttl']} s", f"kept for {record.ttl} s"
    return None


def kept_list(records: Iterable[Record]) -> str:
    """The list of what is kept, as it lies on a server, to know later what is kept no more."""
    return json.dumps(sorted(record.key for record in records)) + "\n"


def surplus(kept: str | None, records: Iterable[Record], zones: Iterable[str]) -> list[str]:
    """Keys of records that were kept once and are not any more, in zones that still are."""
    try:
        listed = json.loads(kept or "[]")
    except ValueError:
        return []
    wanted = {record.key for record in records}
    ends = tuple(f".{zone}" for zone in zones)
    return [key for key in listed if key not in wanted and f".{key.split(' ')[0]}".endswith(ends)]


def update(zone: str, record: Record, answer: Mapping[str, Any]) -> Iterator[str]:
    """Commands of knsupdate that make ``record`` so, all others at its name left alone."""
    if record.type == "NS" and record.name == zone:
        # A zone never loses its last server: they are exchanged one by one.
        yield from (f"add {zone} {record.ttl} NS {value}" for value in record.values)
        gone = set(answer["values"]) - set(record.values)
        yield from (f"del {zone} NS {value}" for value in sorted(gone))
        return
    # Another name for something else has no records of its own.
    yield f"del {record.name}" if record.type == "CNAME" else f"del {record.name} CNAME"
    yield f"del {record.key}"
    for value in record.values:
        written = f'"{value}"' if record.type == "TXT" else value
        yield f"add {record.name} {record.ttl} {record.type} {written}"
