"""Membership of etcd, asked of the other members over etcd's own JSON interface."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .failure import WorkError
from .paths import PKI

SECONDS = 5.0


@dataclass(frozen=True)
class Member:
    """One member; ``name`` is empty until it has started once."""

    id: str
    name: str
    peer_url: str
    learner: bool


def peer_url(address: str) -> str:
    """URL by which kubeadm announces the member at ``address``."""
    host = f"[{address}]" if ":" in address else address
    return f"https://{host}:2380"


class Etcd:
    """The members at ``addresses``, of which any may answer."""

    def __init__(self, addresses: Sequence[str], pki: Path = Path(PKI)) -> None:
        self.addresses = addresses
        self.pki = pki

    def members(self) -> list[Member]:
        """All members.

        Raises
        ------
        WorkError
            No member answers, or they have no majority.
        """
        answer = self._ask("/v3/cluster/member/list", {})
        return [
            Member(
                id=item["ID"],
                name=item.get("name", ""),
                peer_url=item["peerURLs"][0],
                learner=bool(item.get("isLearner")),
            )
            for item in answer["members"]
        ]

    def remove(self, member: Member) -> None:
        """Take a member out; raises as :meth:`members` does."""
        self._ask("/v3/cluster/member/remove", {"ID": member.id})

    def _ask(self, path: str, question: dict[str, Any]) -> Any:
        said = []
        for address in self.addresses:
            host = f"[{address}]" if ":" in address else address
            request = urllib.request.Request(
                f"https://{host}:2379{path}", data=json.dumps(question).encode()
            )
            try:
                with urllib.request.urlopen(  # noqa: S310 - as above
                    request, timeout=SECONDS, context=self._context()
                ) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                said.append(f"{address}: {error.read().decode(errors='replace').strip()}")
            except (OSError, ValueError) as error:
                said.append(f"{address}: {error}")
        raise WorkError("no etcd member answers: " + "; ".join(said or ["there are no others"]))

    def _context(self) -> ssl.SSLContext:
        folder = self.pki / "etcd"
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        context.load_cert_chain(
            folder / "healthcheck-client.crt", folder / "healthcheck-client.key"
        )
        return context
