"""The site: what the administrator wants, read from ``site.yaml``.

The base of the model stands here; every phase adds its own settings under its
own name (see :func:`site_model`), so no file knows all components.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar, cast
from urllib.parse import urlsplit

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
from pydantic.json_schema import SkipJsonSchema

from provision.errors import ConfigError
from provision.explain import DNS_LABEL, ENDPOINT, explain, site_error
from provision.yamlfile import YamlFile, read_yaml


def _as_address(value: object) -> object:
    if isinstance(value, IPv4Address | IPv6Address):
        return value
    try:
        return ip_address(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError("must be an IP address, such as 192.0.2.11") from error


def _as_network(value: object) -> object:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    text = value if isinstance(value, str) and "/" in value else ""
    try:
        loose = ip_network(text, strict=False)
    except ValueError as error:
        raise ValueError("must be a network in CIDR form, such as 192.0.2.0/24") from error
    if str(loose.network_address) != str(ip_address(text.split("/", 1)[0])):
        raise ValueError(f"must be a network, not an address in one; write {loose}")
    return loose


Address = Annotated[IPv4Address | IPv6Address, BeforeValidator(_as_address)]
"""An IPv4 or IPv6 address."""
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_as_network)]
"""An IPv4 or IPv6 network in CIDR form."""

PRIVATE_NETWORKS = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
"""Private use: RFC 1918, RFC 6598, RFC 4193."""


class Model(BaseModel):
    """Base of everything in a site file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def saying(self, *names: str) -> list[str]:
        """Those of the fields that say something other than their defaults.

        Machines remember settings with every field, so that being set means nothing.
        """
        fields = type(self).model_fields
        return [
            name
            for name in names
            if getattr(self, name) != fields[name].get_default(call_default_factory=True)
        ]


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

    withhold: ClassVar[bool] = True
    """Errors must not show what stands here: it may be the secret after all."""
    wanted: ClassVar[str] = "exactly one of: {file: PATH}, {store: NAME}, {prompt: true}"

    file: Path | None = None
    """File that holds the secret, readable by its owner alone; relative to the site file."""
    store: str | None = None
    """Name of the secret in the site's secret store (``provision secrets``)."""
    prompt: bool = False
    """Ask for it at the terminal, once a run."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum((self.file is not None, self.store is not None, self.prompt)) != 1:
            raise ValueError("names no place, or more than one")
        return self


USER = r"^[A-Za-z_][A-Za-z0-9_.-]*$"
"""A login name; a hyphen in front would be an option to ssh."""
JUMP = r"^([A-Za-z_][A-Za-z0-9_.-]*@)?([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$"
"""``[user@]host[:port]``, an IPv6 address in brackets."""


class Connection(Model):
    """How machines are reached over SSH."""

    user: Annotated[str, Field(pattern=USER)] | None = None
    """Login name; without it, that of ``~/.ssh/config`` or of the caller."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """TCP port of the SSH server; without it, that of ``~/.ssh/config``, or 22."""
    key: Path | None = None
    """Private key file, relative to the site file; without it, the agent and the default keys."""
    known_hosts: Path | None = None
    """Pinned host keys, relative to the site file; without it ``~/.ssh/known_hosts``."""
    bastion: Annotated[str, Field(pattern=JUMP)] | None = None
    """``[user@]host[:port]`` to jump through (OpenSSH's ProxyJump)."""
    sudo_password: SecretRef | None = None
    """Password for sudo; without it, sudo must not ask for one."""


def _as_sequence(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


def _something(value: object) -> object:
    # A key without a value reads like a component that is wanted, and would be none.
    if value is None:
        raise ValueError("has no value")
    return value


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
    egress: tuple[Annotated[str, Field(pattern=ENDPOINT)], ...] = ()
    """What pods must reach outside the cluster, each ``HOST:PORT`` (TCP): the Git server, image
    registries, chart repositories, a proxy. ``provision verify`` tries them."""


class BundleSettings(Model):
    """Where everything that is installed comes from."""

    path: Path | None = None
    """The bundle's folder, relative to the site file; without it, the one that
    ``provision bundle build`` makes for this Kubernetes version."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Version by component that the bundle must have, where the newest is not wanted, such as
    ``metallb: 0.16.1``; ``provision bundle build --component`` makes such a bundle."""
    trusted_keys: tuple[Path, ...] = ()
    """Public keys whose signature is believed; without any, the key that this
    controller itself signs with."""


class SecretSettings(Model):
    """How the site's secrets are kept."""

    recipients: tuple[str, ...] = ()
    """age public keys that ``provision secrets export`` encrypts to."""


class OsPackages(StrEnum):
    """Where machines get the Debian packages that the components need."""

    MIRROR = "mirror"
    BUNDLE = "bundle"


REPOSITORY = r"^(/\S*|(file|https?|ssh|git)://\S+|[A-Za-z0-9._-]+@[^\s:/]+:\S+)$"
"""What ``git`` fetches from: a URL, ``USER@HOST:PATH`` or an absolute path."""
REVISION = r"^[A-Za-z0-9][A-Za-z0-9._/+-]*$"
"""A branch, tag or commit; a hyphen in front would be an option to git, a colon two names."""
INSIDE = r"^[^/\s-]\S*$"
"""Path of a file inside a repository."""


class Unattended(StrEnum):
    """What ``provision watch`` may apply without being told to."""

    ADDITIONS = "additions"
    REPAIRS = "repairs"


class WatchSettings(Model):
    """The site file's own repository, and what of it ``provision watch`` applies unattended."""

    repository: Annotated[str, Field(pattern=REPOSITORY)]
    """Git repository with the site file: ``https://HOST/PATH``, ``ssh://USER@HOST/PATH``,
    ``USER@HOST:PATH`` or an absolute path. Credentials are git's own (its helpers, SSH's keys)."""
    revision: Annotated[str, Field(pattern=REVISION)] = "HEAD"
    """Branch, tag or commit that is followed."""
    site_file: Annotated[str, Field(pattern=INSIDE)] = "site.yaml"
    """Path of the site file in the repository."""
    interval_seconds: Annotated[int, Field(ge=5, le=86400)] = 60
    """Seconds between two looks."""
    allowed_signers: Path | None = None
    """Who must have signed a commit by SSH, one of them: a file as ssh-keygen(1) describes under
    ALLOWED SIGNERS, relative to the site file. Without it signatures are not asked for."""
    unattended: tuple[Unattended, ...] = (Unattended.ADDITIONS, Unattended.REPAIRS)
    """What is applied without an approval: ``additions``, commits that only add machines or
    optional components; ``repairs``, what differs although the site file says what it said."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if "://" in self.repository:
            parts = urlsplit(self.repository)
            if parts.password is not None or (parts.username and parts.scheme.startswith("http")):
                # Said of the whole, whose values errors do not show.
                raise ValueError(
                    "holds credentials in repository; leave them to git: git help credentials"
                )
        if ".." in Path(self.site_file).parts:
            raise ValueError("has a site_file that leads out of the repository")
        if len(set(self.unattended)) != len(self.unattended):
            raise ValueError("names something twice in unattended")
        return self


class Settings(Model):
    """Base of a phase's settings; :attr:`component` is their key in the site file."""

    component: ClassVar[str]
    optional: ClassVar[bool] = False
    """Whether a site has the component only where its key stands in the site file."""
    wanted: ClassVar[str] = "keys with values, a line each: KEY: VALUE; or {} for the defaults"
    """What errors say belongs under the component's key."""


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
    os_packages: OsPackages = OsPackages.MIRROR
    """Where machines get Debian packages: ``mirror``, by their own apt's sources; or ``bundle``,
    for machines that reach none (``provision bundle build --os-packages RELEASE``)."""
    secrets: SecretSettings = SecretSettings()
    """How the site's secrets are kept."""
    watch: Annotated[WatchSettings | SkipJsonSchema[None], BeforeValidator(_something)] = None
    """The repository that ``provision watch`` follows."""
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

    def has(self, kind: type[Settings]) -> bool:
        """Whether the site has the component with these settings."""
        return not kind.optional or getattr(self, kind.component) is not None

    def settings(self, kind: type[S]) -> S:
        """The settings of a component that the site has, as the type that its phase declared."""
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
            raise ValueError("\n".join(problems))
        return self


def _host_problems(site: Site) -> Iterator[str]:
    by_address: dict[IPv4Address | IPv6Address, str] = {}
    listed = ", ".join(map(str, site.network.machines))
    for name, host in site.hosts.items():
        key = f"hosts.{name}.address"
        other = by_address.setdefault(host.address, name)
        if other != name:
            yield f"{key} is {host.address}, which hosts.{other} has already"
        homes = [network for network in site.network.machines if host.address in network]
        if not homes:
            yield f"{key} {host.address} is outside network.machines ({listed})"
        elif not _is_assignable(host.address, homes[0]):
            yield f"{key} {host.address} is the network's own or its broadcast address"
        if len(set(host.parts)) != len(host.parts):
            yield f"hosts.{name}.parts names a part twice"
    count = len(site.control_plane)
    if count not in (1, 3, 5):
        verb = "machine has" if count == 1 else "machines have"
        yield (
            f"hosts: {count} {verb} the part control_plane, and etcd needs an odd number of"
            " members to survive a loss; let 1, 3 or 5 machines have it"
        )


def _is_assignable(address: IPv4Address | IPv6Address, network: IPv4Network | IPv6Network) -> bool:
    if network.version == 6 or network.prefixlen >= 31:
        return True
    return address not in (network.network_address, network.broadcast_address)


def _network_problems(site: Site) -> Iterator[str]:
    named = [
        (label, network)
        for label in ("machines", "pods", "services")
        for network in getattr(site.network, label)
    ]
    for (one, left), (other, right) in combinations(named, 2):
        if one != other and left.version == right.version and left.overlaps(right):
            yield f"network.{other} {right} overlaps network.{one} {left}"
    for label, network in named:
        if label != "machines" and not _is_private(network):
            yield (
                f"network.{label} {network} is not private space; take it from 10.0.0.0/8,"
                " 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 or fc00::/7"
            )
    families = {
        label: [network.version for network in getattr(site.network, label)]
        for label in ("machines", "pods", "services")
    }
    for label, versions in families.items():
        if len(set(versions)) != len(versions):
            yield f"network.{label} names two networks of IPv{versions[0]}; give one of each family"
        elif versions[0] != families["machines"][0]:
            yield (
                f"network.{label} begins with IPv{versions[0]}, and network.machines with"
                f" IPv{families['machines'][0]}; the first family must be the same"
            )
    if len(families["pods"]) != len(families["services"]):
        yield "network.services must have as many families as network.pods: one, or both of two"


def _is_private(network: IPv4Network | IPv6Network) -> bool:
    return any(
        network.version == space.version and network.subnet_of(space)  # type: ignore[arg-type]
        for space in PRIVATE_NETWORKS
    )


def site_model(settings: Sequence[type[Settings]]) -> type[Site]:
    """The site's model with one key for each component's settings.

    A component whose settings all have defaults may be left out of the file.
    One that is optional is not there then.
    """
    fields: dict[str, Any] = {}
    for kind in settings:
        if kind.optional:
            fields[kind.component] = (_optional(kind), None)
            continue
        required = any(field.is_required() for field in kind.model_fields.values())
        default = Field() if required else Field(default_factory=kind)
        fields[kind.component] = (kind, default)
    return create_model("Site", __base__=Site, __doc__="The whole site.", **fields)


def _optional(kind: type[Settings]) -> Any:
    # Nobody can write the None, so the schema does not offer it. Only type checkers take the
    # class for a generic one.
    allowed: Any = kind | Annotated[None, SkipJsonSchema()]  # type: ignore[type-arg]
    return Annotated[allowed, BeforeValidator(_something)]


@dataclass(frozen=True)
class LoadedSite:
    """A site and the file it came from."""

    site: Site
    file: YamlFile


def load_site(path: Path, model: type[Site]) -> LoadedSite:
    """Read and validate a site file; raises as :func:`validated` and ``read_yaml`` do."""
    return validated(read_yaml(path), model)


def validated(source: YamlFile, model: type[Site]) -> LoadedSite:
    """The site that a YAML file describes.

    Raises
    ------
    ConfigError
        With the line, column and key path of the first problem, and the
        others listed below it.
    """
    if not isinstance(source.data, Mapping):
        raise ConfigError(
            "a site file is a mapping of keys to values",
            where=source.where(()),
            found="a list" if isinstance(source.data, list) else "a single value",
            wanted="lines of the form KEY: VALUE, the first of them name: NAME",
            fix="write an example to begin with: provision init",
        )
    try:
        site = model.model_validate(source.data)
    except ValidationError as error:
        raise site_error(explain(error, source, model)) from error
    site.place(source.path.absolute().parent)
    return LoadedSite(site, source)
