"""Volumes that many machines write to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.phases.shared_storage import SharedStorageSettings
from provision.probes import (
    CLAIM,
    FOLDER,
    WAIT,
    claim,
    let_go,
    machines,
    pod,
    read_same,
    start,
    write,
)
from provision.proof import Proof

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.proof import Cluster, Ground
    from provision.site import Site


class SharedVolumeProof(Proof):
    """What is written on one machine is read on another."""

    name = "shared volume"
    component = "shared_storage"

    def cases(self, cluster: Cluster, site: Site) -> Sequence[str]:
        """The class of shared volumes."""
        del cluster
        return (site.settings(SharedStorageSettings).class_name,)

    def prove(self, ground: Ground, case: str) -> str:
        """Write on the first machine, read on the last."""
        names = machines(ground.site_context)
        writer, reader = names[0], names[-1]
        wanted = claim(case, "ReadWriteMany")
        ground.apply(wanted)
        volumes = {FOLDER: CLAIM}
        start(
            ground,
            pod(ground, "writer", WAIT, node=writer, volumes=volumes),
            pod(ground, "reader", WAIT, node=reader, volumes=volumes),
        )
        let_go(ground, wanted)
        read_same(ground, "reader", write(ground, "writer"))
        return f"written on {writer}, read on {reader}"
