"""``nfs_server``: folders of one machine for others to mount, by NFSv4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from provision.openings import Opening
from provision.phase import AnsiblePhase, Context
from provision.site import Model, Network, Settings, Site

Folder = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9_][A-Za-z0-9._-]*)+$")]
SQUASH: Mapping[str, str] = {"none": "No_Root_Squash", "root": "Root_Squash", "all": "All_Squash"}
"""nfs-ganesha's words."""
PORT = 2049


class Export(Model):
    """A folder that others mount."""

    path: Folder
    """The folder on the machine; its file system must have handles for NFS, which ext4 and xfs
    have and an overlay has not."""
    clients: tuple[Network, ...] = ()
    """Networks that may mount it; ``network.machines`` without any. Others also need an opening
    in ``machine.firewall``."""
    read_only: bool = False
    """Whether nobody may write."""
    squash: Literal["none", "root", "all"] = "none"
    """Who is mapped to nobody: no one, root, or everyone."""


class NfsServerSettings(Settings):
    """An NFSv4 server on one of the machines."""

    component = "nfs_server"
    optional = True

    host: str | None = None
    """The machine that serves; the first control-plane machine unless said."""
    exports: Annotated[
        dict[Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")], Export],
        Field(min_length=1),
    ]
    """Folders by the name under which they are mounted: ``SERVER:/NAME``."""


class NfsServerPhase(AnsiblePhase):
    """nfs-ganesha, a server in user space."""

    name = "nfs_server"
    after = ("machine",)
    settings = NfsServerSettings

    def hosts(self, context: Context) -> tuple[str, ...]:
        """The machine that serves."""
        return (_host(context.site),)

    def data(self, context: Context, host: str) -> Mapping[str, str]:
        """What lies in the exported folders."""
        del host
        exports = context.site.settings(NfsServerSettings).exports
        return {f"{export.path}/*": f"files in {export.path}" for export in exports.values()}

    def validate_site(self, site: Site) -> Iterator[str]:
        """The machine must exist, and a folder be exported once."""
        settings = site.settings(NfsServerSettings)
        if settings.host is not None and settings.host not in site.hosts:
            yield f"nfs_server.host {settings.host} is no machine of the site"
        taken: dict[str, str] = {}
        for name, export in settings.exports.items():
            other = taken.setdefault(export.path, name)
            if other != name:
                yield (
                    f"nfs_server.exports.{name}.path {export.path} is exported as {other} already"
                )

    def openings(self, site: Site) -> Sequence[Opening]:
        """NFSv4's one port, for the machines."""
        return (Opening(str(PORT), "NFS", "machines", on=(_host(site),)),)

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """Variables of the role ``nfs_server``."""
        settings = context.site.settings(NfsServerSettings)
        machines = context.site.network.machines
        return {
            "nfs_server_address": str(context.site.hosts[host].address),
            "nfs_server_exports": [
                {
                    "name": name,
                    "path": export.path,
                    "clients": [str(network) for network in export.clients or machines],
                    "access": "RO" if export.read_only else "RW",
                    "squash": SQUASH[export.squash],
                }
                for name, export in settings.exports.items()
            ],
        }


def _host(site: Site) -> str:
    return site.settings(NfsServerSettings).host or site.control_plane[0]
