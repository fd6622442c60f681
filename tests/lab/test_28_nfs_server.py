"""Folders by NFS, as a client in user space sees them: the lab's kernel has none."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from provision.phases.nfs_server import NfsServerSettings
from tests.lab.machines import CommandError
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from provision.phase import Context
    from tests.lab.machines import Lab, Machine


pytestmark = pytest.mark.services


def copied(server: Machine, url: str) -> bool:
    server.run(f"nfs-cp /run/lab-nfs '{url}'")
    return True


def test_a_client_writes_and_reads_and_strangers_do_not(lab: Lab, context: Context) -> None:
    settings = context.site.settings(NfsServerSettings)
    server = lab.machines[settings.host or lab.control_plane[0]]
    [(name, export)] = settings.exports.items()
    url = f"nfs://{server.address}/{name}"
    server.run("echo data > /run/lab-nfs")
    # A server that started a moment ago opens nothing new for half a minute.
    wait_until("a file is written", partial(copied, server, f"{url}/lab-file?version=4"), 60)
    assert server.run(f"nfs-cat '{url}/lab-file?version=4'") == "data\n"
    assert server.run(f"stat -c %u {export.path}/lab-file") == "0\n"
    server.run(f"rm {export.path}/lab-file /run/lab-nfs")
    with pytest.raises(CommandError):
        server.run(f"nfs-ls 'nfs://{server.address}/other?version=4'")
