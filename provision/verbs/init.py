"""``init``: a first site file to edit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

from provision.app import judged
from provision.errors import ConfigError, UsageError
from provision.privatefiles import NO_ROOM, write_error
from provision.verbs.initplatform import SITE_PARTS, repository_files
from provision.yamlfile import parse_yaml

TEMPLATE = """\
# The one hand-written input of `provision`. Every key: provision schema
name: {name}

connection:
  user: {user}            # sudo without a password, or add: sudo_password: {{prompt: true}}

hosts:
{hosts}

network:
  machines: {machines}
  pods: {pods}
  services: {services}

api_endpoint:
  address: {endpoint}     # a free address of the machines' network, held by one machine at a time

kubernetes:
  version: {version}
"""

NETWORKS = {4: ("10.244.0.0/16", "10.96.0.0/16"), 6: ("fd00:244::/56", "fd00:96::/112")}
"""Networks of pods and of Services for a new site, by the family of its machines."""

POOL = 10
"""Addresses that a new site has for its Services."""


def write_site(
    path: Path,
    name: str,
    hosts: Sequence[str],
    endpoint: str | None,
    version: str | None,
    repository: str | None = None,
) -> Path:
    """Write a site file for ``hosts`` (``NAME=ADDRESS`` each).

    With ``repository``, the address of the site's Git repository, the site follows it, and
    its first applications are written beside the site file.

    The first three machines, or the first alone where there are fewer than
    three, become control-plane machines that also work.

    Raises
    ------
    UsageError
        A host is not of the form ``NAME=ADDRESS``, or what is given makes no site.
    ConfigError
        A file is there already and is left as it is, or it cannot be written; none is then.
    DiskFullError
        There is no room for it.
    """
    machines = _machines(hosts) or {
        "n1": "192.0.2.11",
        "n2": "192.0.2.12",
        "n3": "192.0.2.13",
    }
    leaders = 3 if len(machines) >= 3 else 1
    rows = [
        f"  {host}: {{address: {address},"
        f" parts: [{'control_plane, worker' if index < leaders else 'worker'}]}}"
        for index, (host, address) in enumerate(machines.items())
    ]
    first = ip_address(next(iter(machines.values())))
    network = ip_network(f"{first}/{24 if first.version == 4 else 64}", strict=False)
    pods, services = NETWORKS[first.version]
    address = endpoint or str(_free(set(machines.values()), network))
    text = TEMPLATE.format(
        name=name,
        user="admin",
        hosts="\n".join(rows),
        machines=network,
        pods=pods,
        services=services,
        endpoint=address,
        version=version or newest_version(),
    )
    if repository is not None:
        first_free, last_free = _pool({*machines.values(), address}, network)
        text += SITE_PARTS.format(
            name=name, repository=repository, first=first_free, last=last_free
        )
    _refuse_what_makes_no_site(text, path, version)
    files = {path: text}
    if repository is not None:
        made = repository_files(name, version or newest_version())
        files |= {path.parent / below: content for below, content in made.items()}
    _write_all(path.parent, files)
    return path


def _write_all(root: Path, files: Mapping[Path, str]) -> None:
    """Write every file in ``root``, or none: whatever is there already is left as it is."""
    for path in files:
        if path.exists() or path.is_symlink():
            raise _there_already(path)
    written: list[Path] = []
    folders: list[Path] = []
    try:
        for path, text in files.items():
            _make_folders(root, path.parent, folders)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
    except OSError as error:
        for one in written:
            one.unlink()
        for folder in reversed(folders):
            folder.rmdir()
        if isinstance(error, FileExistsError):
            raise _there_already(path) from error
        if error.errno in NO_ROOM:
            raise write_error(error, path.absolute(), "the site file cannot be written") from error
        raise ConfigError(
            "the file cannot be written",
            where=str(path),
            found=error.strerror or str(error),
            fix="name another with --output",
        ) from error


def _make_folders(root: Path, folder: Path, made: list[Path]) -> None:
    """Make what is missing of ``folder`` below ``root``, and note it in ``made``."""
    missing = [one for one in (folder, *folder.parents) if root in one.parents and not one.exists()]
    for one in reversed(missing):
        one.mkdir()
        made.append(one)


def _there_already(path: Path) -> ConfigError:
    return ConfigError(
        "the file is there already and was left as it is",
        where=str(path),
        fix="name a file in a new folder with --output",
    )


def newest_version() -> str:
    """The Kubernetes version that a new site gets: the catalog's default."""
    from provision.bundle.catalog import default_kubernetes_version

    return default_kubernetes_version()


def _refuse_what_makes_no_site(text: str, path: Path, version: str | None) -> None:
    try:
        judged(parse_yaml(text, path))
    except ConfigError as error:
        raise UsageError(
            error.what,
            found=error.found,
            wanted=error.wanted,
            fix="provision init --help",
            also=error.also,
        ) from error
    known = known_versions()
    if version is not None and version not in known:
        raise UsageError(
            "the catalog does not have this Kubernetes version",
            found=version,
            wanted=f"one of: {', '.join(known)}",
        )


def known_versions() -> tuple[str, ...]:
    """The Kubernetes versions that can be bundled."""
    from provision.bundle.catalog import catalog

    return catalog().kubernetes_versions()


def _free(taken: Collection[str], network: IPv4Network | IPv6Network) -> IPv4Address | IPv6Address:
    """An address near the end of ``network`` that no machine has."""
    address = network.broadcast_address - 4
    while str(address) in taken:
        address -= 1
    return address


def _pool(taken: Collection[str], network: IPv4Network | IPv6Network) -> tuple[str, str]:
    """First and last of ``POOL`` addresses in a row near the end of ``network`` that are free."""
    last = network.broadcast_address - 5
    while any(str(last - step) in taken for step in range(POOL)):
        last -= 1
    return str(last - POOL + 1), str(last)


def _machines(items: Sequence[str]) -> dict[str, str]:
    """The machines by name, none of which may be given twice."""
    found: dict[str, str] = {}
    for name, address in map(_parse, items):
        if name in found:
            raise UsageError(
                "two hosts have the same name",
                found=f"{name}={found[name]} and {name}={address}",
                wanted="a name of its own for each",
            )
        found[name] = address
    return found


def _parse(item: str) -> tuple[str, str]:
    name, _, address = item.partition("=")
    try:
        return name, str(ip_address(address))
    except ValueError as error:
        raise UsageError(
            "a host is given by name and address",
            found=item,
            wanted="NAME=ADDRESS, such as n1=192.0.2.11",
        ) from error
