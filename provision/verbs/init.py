"""``init``: a first site file to edit."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

from provision.errors import ConfigError, UsageError

TEMPLATE = """\
# The one hand-written input of `provision`. Every key: provision schema
name: {name}

connection:
  user: {user}            # sudo without a password, or add: sudo_password: {{prompt: true}}

hosts:
{hosts}

network:
  machines: {machines}
  pods: 10.244.0.0/16
  services: 10.96.0.0/16

api_endpoint:
  address: {endpoint}     # a free address of the machines' network, held by one machine at a time

kubernetes:
  version: {version}
"""


def write_site(
    path: Path,
    name: str,
    hosts: Sequence[str],
    endpoint: str | None,
    version: str | None,
) -> Path:
    """Write a site file for ``hosts`` (``NAME=ADDRESS`` each).

    The first three machines, or the first alone where there are fewer than
    three, become control-plane machines that also work.

    Raises
    ------
    UsageError
        A host is not of the form ``NAME=ADDRESS``.
    ConfigError
        The file is there already; it is left as it is.
    """
    machines = dict(_parse(item) for item in hosts) or {
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
    network = ip_network(f"{next(iter(machines.values()))}/24", strict=False)
    text = TEMPLATE.format(
        name=name,
        user="admin",
        hosts="\n".join(rows),
        machines=network,
        endpoint=endpoint or network.broadcast_address - 4,
        version=version or newest_version(),
    )
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(
            "the file is there already and was left as it is",
            where=str(path),
            fix="name another with --output",
        ) from error
    except OSError as error:
        raise ConfigError(
            "the file cannot be written", where=str(path), found=error.strerror or str(error)
        ) from error
    return path


def newest_version() -> str:
    """The Kubernetes version that a new site gets: the catalog's default."""
    from provision.bundle.catalog import default_kubernetes_version

    return default_kubernetes_version()


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
