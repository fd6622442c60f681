"""Keeps records on a name server: compares by its answers, changes what differs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from . import records
from .client import ask
from .failure import WorkError
from .records import Record


class Keeper:
    """The records of one server.

    Parameters
    ----------
    server
        ``address:port``, an IPv6 address in brackets.
    zones
        By name, with a dot at its end.
    key_file, kept_file
        The key for updates, as knsupdate takes it; the list of what is kept.
    """

    def __init__(
        self, server: str, zones: dict[str, list[Record]], key_file: Path, kept_file: Path
    ) -> None:
        self.server = server
        self.zones = zones
        self.key_file = key_file
        self.kept_file = kept_file
        self.all = [record for listed in zones.values() for record in listed]
        self.answers: dict[str, Any] = {}
        self.kept = kept_file.read_text("utf-8") if kept_file.exists() else None

    def differences(self) -> list[str]:
        """What is not as it should be, in the words of the plan."""
        self.answers = ask([records.question(self.server, record) for record in self.all])
        found = [
            f"record {record.key} is {how[0]}, wanted {how[1]}"
            for record, how in self._differing(self.all)
        ]
        found += [f"record {key} is still kept, wanted gone" for key in self._gone()]
        if self.kept != records.kept_list(self.all):
            found.append(f"file {self.kept_file} is not the list of kept records, wanted that list")
        return found

    def change(self) -> None:
        """Make the zones so, by updates signed with the key, each zone's at once.

        Raises
        ------
        WorkError
            The server refuses.
        """
        for zone, listed in self.zones.items():
            lines = [f"del {key}" for key in self._gone() if _zone_of(key, self.zones) == zone]
            for record, _ in self._differing(listed):
                lines += records.update(zone, record, self._answer(record))
            if lines:
                self._update(zone, lines)
        self._remember()

    def copy(self) -> None:
        """Take the zones that differ from the server that takes changes.

        Raises
        ------
        WorkError
            It does not give a zone.
        """
        for zone, listed in self.zones.items():
            if any(self._differing(listed)):
                _run(["knotc", "--blocking", "--timeout=60", "zone-retransfer", zone])
        self._remember()

    def _gone(self) -> list[str]:
        return records.surplus(self.kept, self.all, self.zones)

    def _differing(self, listed: Sequence[Record]) -> Iterator[tuple[Record, tuple[str, str]]]:
        for record in listed:
            how = records.difference(record, self._answer(record))
            if how is not None:
                yield record, how

    def _answer(self, record: Record) -> Any:
        return self.answers[records.question(self.server, record)]

    def _update(self, zone: str, lines: Sequence[str]) -> None:
        address, _, port = self.server.rpartition(":")
        script = [f"server {address.strip('[]')} {port}", f"zone {zone}", *lines, "send", "quit"]
        _run(["knsupdate", "-k", str(self.key_file)], "\n".join(script) + "\n")

    def _remember(self) -> None:
        text = records.kept_list(self.all)
        if self.kept != text:
            self.kept_file.write_text(text, "utf-8")


def _zone_of(key: str, zones: Iterable[str]) -> str:
    """The innermost of ``zones`` that the record's name is in."""
    name = key.split(" ", maxsplit=1)[0]
    return max((zone for zone in zones if f".{name}".endswith(f".{zone}")), key=len)


def _run(command: Sequence[str], script: str = "") -> None:
    try:
        done = subprocess.run(
            list(command),
            input=script,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WorkError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        raise WorkError(f"`{' '.join(command)}` did not work: {done.stdout.strip()}")
