"""The site: what the administrator wants, read from ``site.yaml``.

The base of the model stands here; every phase adds its own settings under its
own name (see :func:`site_model`), so no file knows all components.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    create_model,
    model_validator,
)

from provision.errors import ConfigError
from provision.yamlfile import Location, YamlFile, read_yaml

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
"""RFC 1123 label, which is also what Kubernetes takes as a node's name."""


class Model(BaseModel):
    """Base of everything in a site file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Part(StrEnum):
    """What a machine does in the cluster."""

    CONTROL_PLANE = "control_plane"
    WORKER = "worker"


class Architecture(StrEnum):
    """Processor architecture, in the words of Debian and of container images."""

    AMD64 = "amd64"
    ARM64 = "arm64"


class SecretRef(Model):
    """Where a secret comes from; the secret itself never stands in a site file."""

    file: Path | None = None
    """File that holds the secret, readable by its owner alone; relative to the site file."""
    store: str | None = None
    """Name of the secret in the site's secret store (``provision secrets``)."""
    prompt: bool = False
    """Ask for it at the terminal, once a run."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum((self.file is not None, self.store is not None, self.prompt)) != 1:
            raise ValueError("give exactly one of file, store or prompt: true")
        return self


class Connection(Model):
    """How machines are reached over SSH."""

    user: str | None = None
    """Login name; without it, that of ``~/.ssh/config`` or of the caller."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """TCP port of the SSH server; without it, that of ``~/.ssh/config``, or 22."""
    key: Path | None = None
    """Private key file, relative to the site file; without it, the agent and the default keys."""
    known_hosts: Path | None = None
    """Pinned host keys, relative to the site file; without it ``~/.ssh/known_hosts``."""
    bastion: str | None = None
    """``[user@]host[:port]`` to jump through (OpenSSH's ProxyJump)."""
    sudo_password: SecretRef | None = None
    """Password for sudo; without it, sudo must not ask for one."""


def _as_sequence(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


Networks = Annotated[
    tuple[Network, ...], BeforeValidator(_as_sequence), Field(min_length=1, max_length=2)
]
"""One network, or one of IPv4 and one of IPv6."""


class Host(Model):
    """One machine."""

    address: Address
    """Address by which the machine is reached and which Kubernetes uses as its own."""
    parts: Annotated[tuple[Part, ...], Field(min_length=1)] = (Part.WORKER,)
    """What the machine does: ``control_plane``, ``worker`` or both."""
    architecture: Architecture = Architecture.AMD64
    """Processor architecture."""
    connection: Connection = Connection()
    """What differs from the site's ``connection`` for this machine."""

    @property
    def is_control_plane(self) -> bool:
        """Whether an API server and an etcd member run here."""
        return Part.CONTROL_PLANE in self.parts


class NetworkSettings(Model):
    """Networks of the site."""

    machines: Networks
    """Network that the machines stand in."""
    pods: Networks = (IPv4Network("10.244.0.0/16"),)
    """Network that pods get addresses from; private (RFC 1918) space."""
    services: Networks = (IPv4Network("10.96.0.0/16"),)
    """Network that Services get addresses from; private (RFC 1918) space."""


class BundleSettings(Model):
    """Where everything that is installed comes from."""

    path: Path | None = None
    """The bundle's folder, relative to the site file; without it, the one that
    ``provision bundle build`` makes for this Kubernetes version."""
    trusted_keys: tuple[Path, ...] = ()
    """Public keys whose signature is believed; without any, the key that this
    controller itself signs with."""


class SecretSettings(Model):
    """How the site's secrets are kept."""

    recipients: tuple[str, ...] = ()
    """age public keys that ``provision secrets export`` encrypts to."""


class Settings(Model):
    """Base of a phase's settings; :attr:`component` is their key in the site file."""

    component: ClassVar[str]


S = TypeVar("S", bound=Settings)


class Site(Model):
    """The whole site. The concrete model comes from :func:`site_model`."""

    name: Annotated[str, Field(pattern=DNS_LABEL)]
    """Name of the site; also the Kubernetes cluster's name."""
    connection: Connection = Connection()
    """How the machines are reached."""
    hosts: Annotated[dict[Annotated[str, Field(pattern=DNS_LABEL)], Host], Field(min_length=1)]
    """The machines by host name."""
    network: NetworkSettings
    """Networks of the site."""
    bundle: BundleSettings = BundleSettings()
    """Where everything that is installed comes from."""
    secrets: SecretSettings = SecretSettings()
    """How the site's secrets are kept."""
    _directory: Path = PrivateAttr(default=Path())

    @property
    def directory(self) -> Path:
        """Folder of the site file; relative paths in it start here."""
        return self._directory

    def place(self, directory: Path) -> None:
        """Say which folder the site file lies in."""
        self._directory = directory

    @property
    def control_plane(self) -> tuple[str, ...]:
        """Names of the control-plane machines, in the order of the site file."""
        return tuple(name for name, host in self.hosts.items() if host.is_control_plane)

    @property
    def workers(self) -> tuple[str, ...]:
        """Names of the machines that are not control-plane machines, in order."""
        return tuple(name for name, host in self.hosts.items() if not host.is_control_plane)

    @property
    def digest(self) -> str:
        """sha256 of the site's meaning: comments and order of keys do not count."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def settings(self, kind: type[S]) -> S:
        """The settings of one component, as the type that its phase declared."""
        return cast("S", getattr(self, kind.component))

    def connection_of(self, name: str) -> Connection:
        """The site's connection with what the machine ``name`` sets laid over it."""
        own = self.hosts[name].connection
        merged = {
            field: getattr(own if field in own.model_fields_set else self.connection, field)
            for field in Connection.model_fields
        }
        return Connection.model_construct(**merged)

    def resolve(self, path: Path) -> Path:
        """``path`` as the site file means it: absolute, ``~`` unfolded."""
        return (self.directory / path.expanduser()).absolute()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [*_host_problems(self), *_network_problems(self)]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _host_problems(site: Site) -> Iterator[str]:
    by_address: dict[Address, str] = {}
    for name, host in site.hosts.items():
        other = by_address.setdefault(host.address, name)
        if other != name:
            yield f"hosts.{name}.address is {host.address}, which hosts.{other} has already"
        if not any(host.address in network for network in site.network.machines):
            listed = ", ".join(map(str, site.network.machines))
            yield f"hosts.{name}.address {host.address} is outside network.machines ({listed})"
    count = len(site.control_plane)
    if count not in (1, 3, 5):
        yield (
            f"{count} machines have the part control_plane; etcd needs an odd number to survive"
            " a loss: 1, 3 or 5"
        )


def _network_problems(site: Site) -> Iterator[str]:
    named = [
        (label, network)
        for label in ("machines", "pods", "services")
        for network in getattr(site.network, label)
    ]
    for (one, left), (other, right) in combinations(named, 2):
        if left.version == right.version and left.overlaps(right):
            yield f"network.{one} {left} overlaps network.{other} {right}"
    for label, network in named:
        if label != "machines" and not network.is_private:
            yield f"network.{label} {network} is not private (RFC 1918) space"


def site_model(settings: Sequence[type[Settings]]) -> type[Site]:
    """The site's model with one key for each component's settings.

    A component whose settings all have defaults may be left out of the file.
    """
    fields: dict[str, Any] = {}
    for kind in settings:
        required = any(field.is_required() for field in kind.model_fields.values())
        default = Field() if required else Field(default_factory=kind)
        fields[kind.component] = (kind, default)
    return create_model("Site", __base__=Site, __doc__=Site.__doc__, **fields)


@dataclass(frozen=True)
class LoadedSite:
    """A site and the file it came from."""

    site: Site
    file: YamlFile


def load_site(path: Path, model: type[Site]) -> LoadedSite:
    """Read and validate a site file.

    Raises
    ------
    ConfigError
        With the line, column and key path of the first problem, and the
        others listed below it.
    """
    source = read_yaml(path)
    if not isinstance(source.data, Mapping):
        raise ConfigError(
            "a site file is a mapping of keys",
            where=source.where(()),
            found=type(source.data).__name__,
            fix="see an example with: provision init --help",
        )
    try:
        site = model.model_validate(source.data)
    except ValidationError as error:
        raise _as_config_error(error, source, model) from error
    except RecursionError as error:
        raise ConfigError("the file is nested too deeply", where=str(path)) from error
    site.place(path.absolute().parent)
    return LoadedSite(site, source)


def _as_config_error(error: ValidationError, source: YamlFile, model: type[Site]) -> ConfigError:
    problems = [_problem(item, source, model) for item in error.errors(include_url=False)]
    first, *others = problems
    more = "".join(f"\nand {text} ({where})" for where, text, _, _ in others[:20])
    where, what, found, wanted = first
    return ConfigError(
        what + more,
        where=where,
        found=found,
        wanted=wanted,
        fix="correct the site file, then: provision check (every key: provision schema)",
    )


def _problem(item: Any, source: YamlFile, model: type[Site]) -> tuple[str, str, str, str]:
    location: Location = tuple(step for step in item["loc"] if _in_file(step))
    # pydantic adds the names of union members to a location; those are not keys of the file.
    while location and not _exists(source.data, location[:-1]):
        location = location[:-1]
    key = ".".join(map(str, location)) or "the site"
    where = source.where(location)
    if item["type"] == "extra_forbidden":
        siblings = _siblings(model, location)
        return where, f"unknown key {key}", "", f"one of: {', '.join(siblings)}" if siblings else ""
    if item["type"] == "missing":
        return where, f"the required setting {key} is missing", "", ""
    message = re.sub(r"^Value error, ", "", item["msg"])
    value = item.get("input")
    found = "" if isinstance(value, Mapping | list) else repr(value)[:80]
    return where, f"{key}: {message}" if location else message, found, ""


def _in_file(step: int | str) -> bool:
    return not (isinstance(step, str) and ("[" in step or step == "__root__"))


def _exists(data: Any, location: Location) -> bool:
    for step in location:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _siblings(model: type[BaseModel], location: Location) -> list[str]:
    """Keys that are allowed beside the last one of ``location``."""
    current: Any = model
    for step in location[:-1]:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(str(step))
            current = field.annotation if field else None
        else:
            arguments = getattr(current, "__args__", ())
            current = arguments[-1] if arguments else None
    if isinstance(current, type) and issubclass(current, BaseModel):
        return sorted(current.model_fields)
    return []
