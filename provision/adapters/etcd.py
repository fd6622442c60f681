"""Reads etcd's members through the control-plane machines that run them.

Not through the cluster's API: that lives on etcd, and is no witness when etcd is ill.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from provision import conditions
from provision.conditions import EtcdMember
from provision.errors import UnreachableError
from provision.facts import Query
from provision.gates import Condition, judged
from provision.observe import MachineReader


class EtcdReader:
    """Reads the members.

    Parameters
    ----------
    machines
        Reads the machines.
    """

    def __init__(self, machines: MachineReader) -> None:
        self.machines = machines

    def members(self, hosts: Iterable[str]) -> list[EtcdMember]:
        """Members and their health, as told by the first of ``hosts`` whose member answers.

        Raises
        ------
        UnreachableError
            No member answers.
        """
        said = []
        for host in hosts:
            facts = self.machines.read({host: Query(etcd=True)})[host]
            if facts.error is not None:
                said.append(f"{host}: {facts.error.found or facts.error.what}")
            elif "error" in (told := facts.observed["etcd"]):
                said.append(f"{host}: {told['error']}")
            else:
                return [EtcdMember(**member) for member in told["members"]]
        raise UnreachableError("etcd does not answer", found="; ".join(said))

    def conditions(self) -> Mapping[str, Condition]:
        """``etcd members healthy`` (``members``, ``allowed``), to be waited for."""
        return {"etcd members healthy": partial(judged, self._problems)}

    def _problems(self, given: Mapping[str, Any]) -> Iterator[str]:
        return conditions.etcd_problems(
            self.members(given["allowed"]), given["members"], given["allowed"]
        )
