"""The records of a zone, from the site file and from what components offer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from provision.dns.offers import Name
from provision.dns.records import Record
from provision.site import Address

LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
DNS_NAME = rf"^{LABEL}(\.{LABEL})*$"
ABSOLUTE = rf"^{LABEL}(\.{LABEL})*\.$"
OWNER = rf"^(@|(\*|{LABEL})(\.{LABEL})*)$"

RecordType = Literal["A", "AAAA", "CNAME", "NS", "TXT"]


def _as_sequence(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


Values = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(_as_sequence),
    Field(min_length=1),
]
"""One value, or several."""
Records = Mapping[str, Mapping[RecordType, Sequence[str]]]
"""Values by name relative to a zone and type."""


def _is(kind: Callable[[str], object]) -> Callable[[str], bool]:
    def judge(value: str) -> bool:
        try:
            return str(kind(value)) == value
        except ValueError:
            return False

    return judge


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda value: re.match(pattern, value) is not None


VALUES: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "A": (_is(IPv4Address), "an IPv4 address"),
    "AAAA": (_is(IPv6Address), "an IPv6 address, in its shortest form"),
    "CNAME": (_matches(ABSOLUTE), "a whole name with a dot at its end"),
    "NS": (_matches(ABSOLUTE), "a whole name with a dot at its end"),
    "TXT": (
        _matches(r"^[ !#-\[\]-~]{1,255}$"),
        "at most 255 ASCII characters without quotes and backslashes",
    ),
}
"""By type: whether a value is one, and what is wanted."""


def record_problems(where: str, zone: str, listed: Records) -> Iterator[str]:
    """What is wrong with a zone's records in the site file, each beginning with ``where``."""
    for owner, by_type in listed.items():
        for kind, values in by_type.items():
            fits, wanted = VALUES[kind]
            for value in values:
                if not fits(value):
                    yield f"{where}.{owner}.{kind} is {value}; it must be {wanted}"
        if "CNAME" in by_type and (len(by_type) > 1 or len(by_type["CNAME"]) > 1):
            yield f"{where}.{owner}.CNAME must stand alone: another name has no other records"
        if owner == "@" and {"CNAME", "NS"} & set(by_type):
            kind = "CNAME" if "CNAME" in by_type else "NS"
            yield f"{where}.@.{kind} cannot be set: {zone} itself has its servers and no other name"


def records_of(
    zone: str,
    listed: Records,
    names: Sequence[Name],
    ttl: int,
) -> list[Record]:
    """The records of ``zone``: what components offer, and the site file's in their place."""
    found: dict[str, list[Record]] = {}
    for name in names:
        found[name.label] = list(addresses(absolute(name.label, zone), name.addresses, ttl))
    for owner, by_type in listed.items():
        found[owner] = [
            Record(absolute(owner, zone), kind, tuple(values), ttl)
            for kind, values in by_type.items()
        ]
    return [record for records in found.values() for record in records]


def absolute(owner: str, zone: str) -> str:
    """``owner`` of ``zone`` as a whole name with a dot at its end."""
    return f"{zone}." if owner == "@" else f"{owner}.{zone}."


def addresses(name: str, listed: Sequence[Address], ttl: int) -> Iterator[Record]:
    """Address records of ``name``."""
    for kind, version in (("A", 4), ("AAAA", 6)):
        values = tuple(str(address) for address in listed if address.version == version)
        if values:
            yield Record(name, kind, values, ttl)
