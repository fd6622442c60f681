"""Volumes on the machines' own disks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.probes import CLAIM, FOLDER, WAIT, claim, let_go, pod, read_same, start, write
from provision.proof import Proof

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.proof import Cluster, Ground
    from provision.site import Site

DEFAULT = "storageclass.kubernetes.io/is-default-class"


class VolumeProof(Proof):
    """A volume of the default class keeps its data when its pod is made anew."""

    name = "volume"
    component = "local_storage"

    def cases(self, cluster: Cluster, site: Site) -> Sequence[str]:
        """The default StorageClass."""
        del site
        return sorted(
            item["metadata"]["name"]
            for item in cluster.all("storage.k8s.io/v1", "StorageClass")
            if item["metadata"].get("annotations", {}).get(DEFAULT) == "true"
        )

    def prove(self, ground: Ground, case: str) -> str:
        """Write in one pod, read in the next."""
        wanted = claim(case, "ReadWriteOnce")
        ground.apply(wanted)
        first, second = (pod(ground, name, WAIT, volumes={FOLDER: CLAIM}) for name in ("a", "b"))
        start(ground, first)
        let_go(ground, wanted)
        written = write(ground, "a")
        ground.delete(first)
        start(ground, second)
        read_same(ground, "b", written)
        return "bound, written, and read by the next pod"
