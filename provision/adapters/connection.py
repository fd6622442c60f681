"""How a site's machines are reached over SSH, said once for pyinfra, Ansible and ``ssh``.

All three read one generated file in OpenSSH's own format. It names the site's
machines first and then includes the operator's ``~/.ssh/config``, so what the
site does not say comes from there.
"""

from __future__ import annotations

import shlex
from functools import cached_property
from pathlib import Path
from typing import Any

from provision.errors import ConfigError
from provision.privatefiles import write_private
from provision.site import Connection, Site

CONNECT_SECONDS = 10
"""How long one TCP connection may take."""

GREETING_SECONDS = 15
"""How long a server may take to greet, twice that to judge a key: busy ones are slow at it."""


class Connections:
    """How each machine of ``site`` is reached.

    Parameters
    ----------
    site
        The site.
    folder
        The site's private folder; ``ssh_config`` is written there.
    """

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.path = folder / "ssh_config"

    def check(self) -> None:
        """Refuse key files that are missing or that others can read, as ``ssh`` would.

        Raises
        ------
        ConfigError
            Names the file and the command that puts it right.
        """
        for name in self.site.hosts:
            key = self.site.connection_of(name).key
            if key is not None:
                _check_key(self.site.resolve(key), name)

    def address(self, host: str) -> str:
        """Address by which ``host`` is reached."""
        return str(self.site.hosts[host].address)

    def known_hosts(self, host: str) -> Path | None:
        """The site's own file of pinned host keys, or None where it leaves that to ``ssh``."""
        pinned = self.site.connection_of(host).known_hosts
        return None if pinned is None else self.site.resolve(pinned)

    @cached_property
    def written(self) -> Path:
        """The configuration file, written when it differs."""
        text = self.text()
        if not self.path.exists() or self.path.read_text("utf-8") != text:
            otherwise = "the configuration for SSH cannot be written; nothing was changed"
            write_private(self.path, text.encode(), otherwise)
        return self.path

    def text(self) -> str:
        """The configuration file's content."""
        blocks = [
            "\n".join([f"Host {name} {self.address(name)}", *self._options(name)])
            for name in self.site.hosts
        ]
        blocks += [
            f"Host {name}\n  IdentityFile {_quoted(key)}"
            for name, key in self._jump_hosts().items()
        ]
        # A jump host's key must be known as well.
        common = ["Host *", "  StrictHostKeyChecking yes", f"  ConnectTimeout {CONNECT_SECONDS}"]
        known_hosts = self.site.connection.known_hosts
        if known_hosts is not None:
            common.append(f"  UserKnownHostsFile {_quoted(self.site.resolve(known_hosts))}")
        return "\n\n".join([*blocks, "\n".join([*common, "  Include ~/.ssh/config"])]) + "\n"

    def _jump_hosts(self) -> dict[str, Path]:
        """The site's key for each jump host; the agent and ``~/.ssh/config`` come after it."""
        found = {}
        for host in self.site.hosts:
            connection = self.site.connection_of(host)
            if connection.bastion is not None and connection.key is not None:
                found[_jump_host(connection.bastion)] = self.site.resolve(connection.key)
        return found

    def _options(self, host: str) -> list[str]:
        connection = self.site.connection_of(host)
        return [f"  {name} {value}" for name, value in self._values(host, connection)]

    def _values(self, host: str, connection: Connection) -> list[tuple[str, str]]:
        values = [("HostName", self.address(host))]
        if connection.user is not None:
            values.append(("User", connection.user))
        if connection.port is not None:
            values.append(("Port", str(connection.port)))
        if connection.key is not None:
            values.append(("IdentityFile", _quoted(self.site.resolve(connection.key))))
            values.append(("IdentitiesOnly", "yes"))
        if connection.known_hosts is not None:
            known_hosts = _quoted(self.site.resolve(connection.known_hosts))
            values.append(("UserKnownHostsFile", known_hosts))
        # A machine that is the way to the others is not reached through itself.
        own = (host, self.address(host))
        if connection.bastion is not None and _jump_host(connection.bastion) not in own:
            values.append(("ProxyJump", connection.bastion))
        return values

    def ssh(self, host: str, *command: str) -> list[str]:
        """The arguments that run ``command`` on ``host``, or log in without one."""
        return ["ssh", "-F", str(self.written), host, *command]

    def ansible_variables(self, host: str) -> dict[str, Any]:
        """Ansible's connection variables for ``host``."""
        connection = self.site.connection_of(host)
        variables: dict[str, Any] = {
            "ansible_host": self.address(host),
            "ansible_ssh_common_args": f"-F {shlex.quote(str(self.written))}",
        }
        # Ansible passes its own defaults on the command line, where they outrank the file.
        if connection.user is not None:
            variables["ansible_user"] = connection.user
        if connection.port is not None:
            variables["ansible_port"] = connection.port
        return variables

    def pyinfra_data(self, host: str) -> dict[str, Any]:
        """Pyinfra's host data for ``host``."""
        connection = self.site.connection_of(host)
        known_hosts = self.known_hosts(host)
        data: dict[str, Any] = {
            "ssh_hostname": self.address(host),
            "ssh_config_file": str(self.written),
            "ssh_strict_host_key_checking": "yes",
            "ssh_paramiko_connect_kwargs": {
                "banner_timeout": GREETING_SECONDS,
                "auth_timeout": 2 * GREETING_SECONDS,
                "channel_timeout": CONNECT_SECONDS,
            },
        }
        if known_hosts is not None:
            data["ssh_known_hosts_file"] = str(known_hosts)
        if connection.user is not None:
            data["ssh_user"] = connection.user
        if connection.port is not None:
            data["ssh_port"] = connection.port
        if connection.key is not None:
            data["ssh_key"] = str(self.site.resolve(connection.key))
        return data


def _jump_host(bastion: str) -> str:
    """The host of ``[user@]host[:port]``, an IPv6 address without its brackets."""
    host = bastion.rpartition("@")[2]
    return host[1 : host.index("]")] if host.startswith("[") else host.partition(":")[0]


def _quoted(path: Path) -> str:
    return f'"{path}"'


def _check_key(path: Path, host: str) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(
            "the private key for SSH cannot be read",
            where=f"hosts.{host}: connection.key",
            found=f"{path}: {(error.strerror or str(error)).lower()}",
            wanted="a private key file, its path relative to the site file",
            fix=f"correct connection.key, or make a key: ssh-keygen -t ed25519 -f {path}",
        ) from error
    if mode & 0o077:
        raise ConfigError(
            "the private key for SSH can be read by others, so ssh refuses it",
            where=f"hosts.{host}: connection.key",
            found=f"{path} has mode {mode & 0o777:04o}",
            wanted="mode 0600",
            fix=f"chmod 0600 {path}",
        )
