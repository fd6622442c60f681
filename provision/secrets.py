"""The site's secret store: a folder on the controller, one file a secret.

The store makes what components ask for (:mod:`provision.secretspec`), and
makes certificates anew when they near their end or no longer fit. A key is
written once, before its certificate or public half, and every file is
replaced in one step. So a crash leaves a key without its certificate at most,
which the next :meth:`SecretStore.ensure` adds.

Authorities, key pairs and random values are never made twice: machines and
data depend on them. One that was made and is gone is an error.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
from binascii import hexlify
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from provision import bcrypted, pki, scram
from provision.errors import SecretsError
from provision.privatefiles import (
    PARTIAL_PREFIX,
    check_folder,
    make_folder,
    read_private,
    refuse_git_tree,
    remove_private,
    write_private,
)
from provision.secretspec import (
    Authority,
    Certificate,
    KeyPair,
    Random,
    SecretSpec,
    Text,
    Verifier,
)

MARKER = ".store.json"
"""File in the store that says whose it is and what was made; no secret may have its name."""

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*", re.ASCII)
"""Names of secrets: relative paths of lower-case letters, digits, ``.``, ``_`` and ``-``."""

_ENCODINGS: Mapping[str, Callable[[bytes], bytes]] = {
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
    "hex": hexlify,
}
_VERIFIERS = {"scram": scram, "bcrypt": bcrypted}
_REFERENCE = re.compile(r"\{(secret|base64):([^{}]+)\}")
_RESTORE = (
    "bring a backup: provision secrets import FILE; without one the cluster has to be made anew:"
    " provision reset, move the store away, provision up"
)


@dataclass(frozen=True)
class SecretInfo:
    """What may be told of a secret: everything but its value."""

    name: str
    kind: str
    """Class of its specification; ``Kept`` for what the operator put, ``Unused`` for a file that
    no component asks for any more."""
    present: bool
    due: str
    """Why the next run makes it, or makes it anew; empty when it is as it should be."""
    expires: datetime | None = None
    """When its certificate ends (UTC)."""
    days_left: int | None = None
    """Whole days until then, negative when past."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {**asdict(self), "expires": self.expires and self.expires.isoformat()}


@dataclass(frozen=True)
class Marker:
    """Whose store it is, and what was made in it."""

    site: str
    generation: int = 0
    """Counts up with every change, so that the newer of two copies is known."""
    made: Mapping[str, str] = field(default_factory=dict)
    """Kind by name of what was made."""

    def as_bytes(self) -> bytes:
        """As it stands in the store."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def parse(cls, content: bytes, where: str) -> Marker:
        """From what stands in the store.

        Raises
        ------
        SecretsError
            It is damaged.
        """
        try:
            data = json.loads(content)
            return cls(str(data["site"]), int(data["generation"]), dict(data["made"]))
        except (ValueError, KeyError, TypeError) as error:
            raise SecretsError(
                "the secret store's marker is damaged", where=where, fix=_RESTORE
            ) from error


def file_names(spec: SecretSpec) -> tuple[str, ...]:
    """Names of the files that a secret consists of, the private one first."""
    match spec:
        case Authority() | Certificate():
            return (f"{spec.name}.key", f"{spec.name}.crt")
        case KeyPair():
            return (f"{spec.name}.key", f"{spec.name}.pub")
        case Random() | Text() | Verifier():
            return (spec.name,)


class SecretStore:
    """The secrets of one site. Building it reads and writes nothing.

    Parameters
    ----------
    path
        Folder of the store; it need not exist yet.
    specs
        What the site's components ask for.
    site
        The site's name; a store of another site is refused.
    now
        The clock (UTC).
    """

    def __init__(
        self,
        path: Path,
        *,
        specs: Iterable[SecretSpec] = (),
        site: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.path = path
        self.site = site
        self._now = now
        self._specs: dict[str, SecretSpec] = {}
        self._owners: dict[str, SecretSpec] = {}
        self._learn(specs)

    @property
    def is_empty(self) -> bool:
        """Whether no authority, key pair or random value is here.

        So it is for a new site, and on a new controller.
        """
        kept = [name for spec in self._kept() for name in file_names(spec)]
        return not any(self._file(name).exists() for name in kept)

    @property
    def marker(self) -> Marker | None:
        """What the store says of itself, or None where there is none yet.

        Raises
        ------
        SecretsError
            It is damaged, or the store belongs to another site.
        """
        content = read_private(self.path / MARKER)
        if content is None:
            return None
        marker = Marker.parse(content, str(self.path / MARKER))
        if self.site and marker.site != self.site:
            raise SecretsError(
                "this secret store belongs to another site",
                where=str(self.path),
                found=marker.site,
                wanted=self.site,
                fix="give this site a name of its own in its site file, or a state folder of its"
                " own with XDG_STATE_HOME",
            )
        return marker

    def read(self, name: str) -> bytes:
        """The content of the file ``name``, such as ``kubernetes/ca.crt``.

        Raises
        ------
        SecretsError
            It is not there, or other users may read it.
        """
        content = self._read(name)
        if content is None:
            raise SecretsError(
                f"the secret {name} is missing",
                where=str(self._file(name)),
                fix="provision up makes it for a new site; for a site that stands, bring its"
                " secrets here: provision secrets import FILE",
            )
        return content

    def sha256(self, name: str) -> str | None:
        """sha256 of the file ``name``, or None while it has to be made or made anew.

        Raises
        ------
        SecretsError
            It was made once and is gone, or other users may read it.
        """
        content = self._read(name)
        spec = self._owners.get(name)
        if spec is not None:
            self._refuse_lost(spec)
            stays = name.endswith(".key") and content is not None and _is_key(content)
            if not stays and self.why_due(spec):
                return None
        return None if content is None else hashlib.sha256(content).hexdigest()

    def certificate(self, name: str) -> str | None:
        """The certificate of the authority ``name`` in PEM form, or None while there is none.

        Raises
        ------
        SecretsError
            Other users may read it.
        """
        content = self._read(f"{name}.crt")
        return None if content is None else content.decode("ascii")

    def ensure(self, specs: Iterable[SecretSpec]) -> list[str]:
        """Make what is missing or due of ``specs`` and of what they rest on.

        Returns
        -------
        Names of what was made, in the order of making; empty when all was well.

        Raises
        ------
        SecretsError
            The store is inside a Git tree or open to others, belongs to
            another site, or has lost something that must not be made twice.
        DiskFullError
            There is no room.
        """
        wanted = list(specs)
        self._learn(wanted)
        refuse_git_tree(self.path)
        with self.locked():
            self._remove_partials()
            marker = self.marker or Marker(self.site)
            made: list[str] = []
            kinds = dict(marker.made)
            for spec in self._ordered(wanted):
                self._refuse_lost(spec)
                if self.why_due(spec):
                    self._make(spec)
                    made.append(spec.name)
                kinds[spec.name] = type(spec).__name__
            if made or kinds != dict(marker.made):
                self._write_marker(Marker(marker.site, marker.generation + 1, kinds))
            return made

    def renew(self, name: str) -> list[str]:
        """Make a certificate anew with a new key, or a password; and what is composed of it.

        Raises
        ------
        SecretsError
            There is no certificate of that name, and no password that can be renewed.
        """
        spec = self._specs.get(name)
        if spec is None or not _is_renewable(spec):
            known = sorted(item.name for item in self._all() if _is_renewable(item))
            raise SecretsError(
                f"{name} is not a secret that can be renewed",
                wanted=f"one of: {', '.join(known)}",
                why="machines and data depend on all other secrets for as long as the site stands",
                fix="provision secrets list",
            )
        refuse_git_tree(self.path)
        with self.locked():
            if isinstance(spec, Random):
                # In one step: one that is gone would be missed.
                self._make(spec)
                marker = self.marker or Marker(self.site)
                kinds = {**marker.made, spec.name: type(spec).__name__}
                self._write_marker(Marker(marker.site, marker.generation + 1, kinds))
            else:
                for file in reversed(file_names(spec)):
                    remove_private(self._file(file))
        made = self.ensure([spec, *(item for item in self._all() if isinstance(item, Text))])
        return made if spec.name in made else [spec.name, *made]

    def put(self, name: str, content: bytes) -> None:
        """Keep a secret that the operator brings, such as the password for sudo.

        Raises
        ------
        SecretsError
            The name is malformed, or belongs to what the store makes itself.
        """
        if name in self._owners or not NAME.fullmatch(name):
            raise SecretsError(
                "a secret of yours needs a name of its own",
                found=repr(name),
                wanted="lower-case letters, digits, '.', '_', '-' and '/' between them, and not"
                " the name of a secret that is made here",
                fix="provision secrets list",
            )
        refuse_git_tree(self.path)
        with self.locked():
            marker = self.marker or Marker(self.site)
            write_private(self._file(name), content)
            made = {**marker.made, name: "Kept"}
            self._write_marker(Marker(marker.site, marker.generation + 1, made))

    def describe(self) -> list[SecretInfo]:
        """Every secret that is asked for or kept here, by name; never a value."""
        infos = {spec.name: self._info(spec) for spec in self._all()}
        made = {} if (marker := self.marker) is None else marker.made
        for name in self.names():
            if name not in self._owners:
                kind = "Kept" if made.get(name) == "Kept" else "Unused"
                infos[name] = SecretInfo(name, kind, present=True, due="")
        return [infos[name] for name in sorted(infos)]

    def values(self) -> dict[str, bytes]:
        """Content by name of every file that must stay secret; for searching for leaks."""
        public = {
            name
            for spec in self._all()
            if isinstance(spec, Authority | Certificate | KeyPair)
            for name in file_names(spec)[1:]
        }
        return {name: self.read(name) for name in self.names() if name not in public}

    def names(self) -> list[str]:
        """Names of all files in the store."""
        if not self.path.exists():
            return []
        check_folder(self.path)
        found = (path for path in self.path.rglob("*") if not path.is_dir())
        names = (path.relative_to(self.path).as_posix() for path in found)
        return sorted(name for name in names if NAME.fullmatch(name))

    def why_due(self, spec: SecretSpec) -> str:
        """Why ``spec`` has to be made, or made anew; empty when it is as it should be."""
        match spec:
            case Authority():
                return self._why_authority_due(spec)
            case Certificate():
                return self._why_certificate_due(spec)
            case KeyPair():
                return self._why_pair_due(spec)
            case Random():
                return "" if self._read(spec.name) is not None else "not made yet"
            case Text():
                return self._why_text_due(spec)
            case Verifier():
                return self._why_verifier_due(spec)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process out of the store; waits for the one inside.

        The lock lies beside the store, so that the store can be replaced as a whole.
        """
        make_folder(self.path.parent)
        lock = self.path.with_name(self.path.name + ".lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            make_folder(self.path)
            check_folder(self.path)
            yield
        finally:
            os.close(descriptor)

    def _learn(self, specs: Iterable[SecretSpec]) -> None:
        for spec in specs:
            known = self._specs.setdefault(spec.name, spec)
            if type(known) is not type(spec) or not NAME.fullmatch(spec.name):
                raise ValueError(f"two secrets share the name, or the name is malformed: {spec}")
            self._specs[spec.name] = spec
            self._owners.update(dict.fromkeys(file_names(spec), spec))

    def _all(self) -> list[SecretSpec]:
        return list(self._specs.values())

    def _kept(self) -> list[SecretSpec]:
        return [spec for spec in self._all() if isinstance(spec, Authority | KeyPair | Random)]

    def _file(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise ValueError(f"not the name of a secret: {name!r}")
        return self.path / name

    def _read(self, name: str) -> bytes | None:
        if not self.path.exists():
            return None
        check_folder(self.path)
        return read_private(self._file(name))

    def _write(self, name: str, content: bytes) -> None:
        write_private(self._file(name), content)

    def _write_marker(self, marker: Marker) -> None:
        write_private(self.path / MARKER, marker.as_bytes())

    def _remove_partials(self) -> None:
        for path in self.path.rglob(PARTIAL_PREFIX + "*"):
            remove_private(path)

    def _ordered(self, specs: Iterable[SecretSpec]) -> list[SecretSpec]:
        """``specs`` and what they rest on, each behind what it rests on."""
        sorter: TopologicalSorter[str] = TopologicalSorter()
        todo = [spec.name for spec in specs]
        seen: set[str] = set()
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            before = self._rests_on(self._specs[name])
            sorter.add(name, *before)
            todo.extend(before)
        return [self._specs[name] for name in sorter.static_order()]

    def _rests_on(self, spec: SecretSpec) -> list[str]:
        if isinstance(spec, Certificate):
            if spec.authority not in self._specs:
                raise ValueError(f"{spec.name}: nobody declares the authority {spec.authority}")
            return [spec.authority]
        if isinstance(spec, Text):
            names = dict.fromkeys(name for _, name in _REFERENCE.findall(spec.template))
            unknown = [name for name in names if name not in self._owners]
            if unknown:
                raise ValueError(f"{spec.name}: nobody declares {unknown}")
            return list(dict.fromkeys(self._owners[name].name for name in names))
        if isinstance(spec, Verifier):
            return [spec.password]
        return []

    def _make(self, spec: SecretSpec) -> None:
        match spec:
            case Authority():
                key = self._key_of(spec, pki.new_key)
                self._write(f"{spec.name}.crt", pki.new_authority(spec, key, self._now()))
            case Certificate():
                key = self._key_of(spec, pki.new_key)
                issuer = (self.read(f"{spec.authority}.crt"), self.read(f"{spec.authority}.key"))
                content = pki.new_certificate(spec, key, *issuer, self._now())
                self._write(f"{spec.name}.crt", content)
            case KeyPair():
                key = self._key_of(spec, pki.new_rsa_key)
                self._write(f"{spec.name}.pub", pki.public_key(key))
            case Random():
                self._write(spec.name, _ENCODINGS[spec.encoding](os.urandom(spec.size)))
            case Text():
                self._write(spec.name, self._composed(spec) or b"")
            case Verifier():
                kind = _VERIFIERS[spec.kind]
                self._write(spec.name, kind.new_verifier(self.read(spec.password)))

    def _key_of(self, spec: Authority | Certificate | KeyPair, new: Callable[[], bytes]) -> bytes:
        """The key that is there, or a new one, written before anything is made for it."""
        name = f"{spec.name}.key"
        found = self._read(name)
        if found is not None and _is_key(found):
            return found
        key = new()
        self._write(name, key)
        return key

    def _why_authority_due(self, spec: Authority) -> str:
        key, certificate = (self._read(name) for name in file_names(spec))
        if key is None or certificate is None:
            return "not made yet"
        return pki.why_authority_due(certificate, key, self._now())

    def _why_certificate_due(self, spec: Certificate) -> str:
        key, certificate = (self._read(name) for name in file_names(spec))
        authority = self._read(f"{spec.authority}.crt")
        if key is None or certificate is None:
            return "not made yet"
        if authority is None:
            return f"the authority {spec.authority} is not made yet"
        return pki.why_certificate_due(spec, certificate, key, authority, self._now())

    def _why_pair_due(self, spec: KeyPair) -> str:
        key, public = (self._read(name) for name in file_names(spec))
        if key is None or public is None:
            return "not made yet"
        return "" if public == pki.public_key(key) else "its public half is for another key"

    def _why_text_due(self, spec: Text) -> str:
        found, wanted = self._read(spec.name), self._composed(spec)
        if found is None or wanted is None:
            return "not made yet"
        return "" if found == wanted else "what it is composed of has changed"

    def _why_verifier_due(self, spec: Verifier) -> str:
        found, password = self._read(spec.name), self._read(spec.password)
        if found is None or password is None:
            return "not made yet"
        fits = _VERIFIERS[spec.kind].verifies(found, password)
        return "" if fits else "it is of another password"

    def _composed(self, spec: Text) -> bytes | None:
        """A text with its references filled in, or None while one is missing or due."""
        contents: dict[str, bytes] = {}
        for _, name in _REFERENCE.findall(spec.template):
            owner = self._owners.get(name)
            content = self._read(name)
            if content is None or (owner is not None and self.why_due(owner)):
                return None
            contents[name] = content

        def filled(match: re.Match[str]) -> str:
            form, name = match.groups()
            content = contents[name]
            return (base64.b64encode(content) if form == "base64" else content).decode()

        return _REFERENCE.sub(filled, spec.template).encode()

    def _refuse_lost(self, spec: SecretSpec) -> None:
        """Refuse to make a second time what machines and data depend on."""
        if not isinstance(spec, Authority | KeyPair | Random):
            return
        private, *public = file_names(spec)
        content = self._read(private)
        if content is None:
            marker = self.marker
            was_made = marker is not None and spec.name in marker.made
            if not was_made and not any(self._file(name).exists() for name in public):
                return
            problem = "was made for this site and is gone"
        elif not isinstance(spec, Random) and not _is_key(content):
            problem = "is damaged"
        else:
            return
        raise SecretsError(
            f"the secret {spec.name} {problem}",
            where=str(self._file(private)),
            why="a new one would not fit the machines and the data that were made with the old one",
            fix=_RESTORE,
        )

    def _info(self, spec: SecretSpec) -> SecretInfo:
        present = all(self._read(name) is not None for name in file_names(spec))
        ends: datetime | None = None
        if present and isinstance(spec, Authority | Certificate):
            try:
                ends = pki.end_of(self.read(f"{spec.name}.crt"))
            except ValueError:
                ends = None
        return SecretInfo(
            spec.name,
            type(spec).__name__,
            present,
            self.why_due(spec),
            ends,
            None if ends is None else (ends - self._now()).days,
        )


def _is_renewable(spec: SecretSpec) -> bool:
    return isinstance(spec, Certificate) or (isinstance(spec, Random) and spec.renewable)


def _is_key(content: bytes) -> bool:
    try:
        pki.load_key(content)
    except ValueError:
        return False
    return True
