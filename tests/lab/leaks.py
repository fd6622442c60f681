"""A search for the real values of secrets wherever they must not be."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.secrets import SecretStore

if TYPE_CHECKING:
    from tests.lab.machines import Lab
    from tests.lab.processes import ProcessWatch

SHORTEST = 20
"""Bytes below which a value could stand somewhere by chance, or is but a name."""
PUBLIC = (".crt", ".pub", "namespace", "username", "role_id", "config", "url", "Mtime")
"""Ends of the names of what stands among secrets and everyone may know."""
ORDINARY_USER = "setpriv --reuid=nobody --regid=nogroup --clear-groups"

SEARCH = r"""
import glob, json, os, subprocess, sys
needles = [needle.encode("latin-1") for needle in NEEDLES]
found = set()
def search(where, data):
    found.update((where, number) for number, needle in enumerate(needles) if needle in data)
def files(patterns):
    for pattern in patterns:
        for path in glob.glob(pattern, recursive=True, include_hidden=True):
            if os.path.isfile(path):
                yield path
journal = subprocess.run(["journalctl", "--no-pager", "-o", "cat", "--all"], capture_output=True)
search("journal", journal.stdout)
mine = {str(os.getpid()), str(os.getppid())}
logs = ["/var/log/**", "/home/*/.ansible/**", "/root/.ansible/**", "/tmp/**", "/var/tmp/**"]
for path in [*files(["/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ"]), *files(logs)]:
    if path.startswith("/proc/") and path.split("/")[2] in mine:
        continue
    try:
        with open(path, "rb") as file:
            search(path, file.read())
    except OSError:
        pass
json.dump(sorted(found), sys.stdout)
"""
"""Looks on a machine into its journal, logs, temporary folders, arguments and environments."""

Needles = Mapping[bytes, str]
"""Pieces of secrets by which they would be recognised, and whose they are."""


def of_the_store(lab: Lab) -> dict[str, bytes]:
    """Everything in the site's store of secrets that must stay secret, by name."""
    values = SecretStore(lab.state / "secrets").values()
    return {name: value for name, value in values.items() if not name.endswith(PUBLIC)}


def of_the_cluster(lab: Lab) -> dict[str, bytes]:
    """Everything secret in the cluster's Secrets: issuers' and accounts' keys, passwords."""
    listed = json.loads(lab.kubectl("get", "secrets", "--all-namespaces", "-o", "json"))["items"]
    return {
        f"Secret {item['metadata']['namespace']}/{item['metadata']['name']} {key}": b64decode(value)
        for item in listed
        for key, value in item.get("data", {}).items()
        if not key.endswith(PUBLIC)
    }


def needles(values: Mapping[str, bytes]) -> dict[bytes, str]:
    """Pieces that are long enough to be of nothing else: as they are, and in base64."""
    return {
        piece: name
        for name, value in values.items()
        for text in _texts(value)
        for piece in (*_lines(text), *_encoded(text))
    }


def leaks(lab: Lab, wanted: Needles, watch: ProcessWatch) -> list[str]:
    """Where a secret is that must be nowhere: name and place of each."""
    return sorted(
        {
            *_in_texts(wanted, _on_the_controller(lab)),
            *_in_texts(wanted, (("a process of the host", text) for text in watch.texts())),
            *(found for machine in lab.machines for found in _on_a_machine(lab, machine, wanted)),
        }
    )


def told(wanted: Needles, text: str, where: str) -> list[str]:
    """Secrets that a text tells."""
    return sorted(set(_in_texts(wanted, [(where, text.encode())])))


def readable_by_anyone(lab: Lab, machine: str, wanted: Needles) -> list[str]:
    """Files of a machine with a secret that a user without any rights can read."""
    patterns = b"\n".join(piece for piece in wanted if b"\n" not in piece).decode("latin-1")
    found = lab.machines[machine].run(
        f"{ORDINARY_USER} grep --recursive --no-messages --devices=skip --text --fixed-strings"
        " --files-with-matches --file=- /etc /var /run /opt /home /root /srv /tmp || true",
        stdin=patterns,
    )
    return [f"{machine}: {path}" for path in found.split()]


def _on_the_controller(lab: Lab) -> Iterator[tuple[str, bytes]]:
    for folder in ("runs", "work"):
        for path in Path(lab.state / folder).rglob("*"):
            if path.is_file():
                yield str(path), path.read_bytes()


def _on_a_machine(lab: Lab, machine: str, wanted: Needles) -> Iterator[str]:
    pieces = [piece.decode("latin-1") for piece in wanted]
    names = list(wanted.values())
    script = f"import json\nNEEDLES = json.loads({json.dumps(pieces)!r})\n{SEARCH}"
    for where, number in json.loads(lab.machines[machine].run("python3 -", stdin=script)):
        yield f"{names[number]}: {machine}: {where}"


def _in_texts(wanted: Needles, texts: Iterable[tuple[str, bytes]]) -> Iterator[str]:
    for where, text in texts:
        for piece, name in wanted.items():
            if piece in text:
                yield f"{name}: {where}"


def _texts(value: bytes) -> Iterator[bytes]:
    """The value itself, or each text in it where it is JSON."""
    try:
        parsed = json.loads(value)
    except ValueError:
        yield value
        return
    if isinstance(parsed, dict | list):
        yield from _strings(parsed)
    else:
        yield value


def _strings(parsed: Any) -> Iterator[bytes]:
    match parsed:
        case str():
            yield parsed.encode()
        case dict():
            yield from (text for item in parsed.values() for text in _strings(item))
        case list():
            yield from (text for item in parsed for text in _strings(item))


def _lines(text: bytes) -> list[bytes]:
    """Long lines, such as those of a key in PEM; or the only line, such as a password."""
    lines = [line.strip() for line in text.splitlines()]
    long = [line for line in lines if len(line) >= 40 and b"-----" not in line]
    return long[:3] or [line for line in lines if len(lines) == 1 and len(line) >= SHORTEST]


def _encoded(text: bytes) -> list[bytes]:
    """The value in base64, as Kubernetes writes it, without the beginning that all keys share."""
    if len(text) < SHORTEST:
        return []
    encoded = b64encode(text).rstrip(b"=")[:-1]
    return [encoded[80:140]] if len(encoded) > 160 else [encoded]
