"""What a machine says of its own membership.

The stamp is written last, when kubeadm is through and the machine is a
member. It is believed only as far as the files that it names are still so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self


@dataclass(frozen=True)
class Stamp:
    """Membership of one machine, as ``/var/lib/provision/stamps/kubernetes.json`` tells."""

    version: str
    """Kubernetes version without ``v``."""
    control_plane: bool
    ca: str
    """sha256 of the cluster's CA certificate."""
    inputs: Mapping[str, str]
    """sha256 by path of the configuration that kubeadm's files were made from."""
    files: Mapping[str, str]
    """sha256 by path of what kubeadm made."""
    expires: Mapping[str, datetime]
    """End of each certificate that kubeadm made, by kubeadm's name for it."""

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """The stamp that ``text`` holds; None where there is none, or a torn one."""
        if text is None:
            return None
        try:
            data = json.loads(text)
            return cls(
                version=str(data["version"]),
                control_plane=bool(data["control_plane"]),
                ca=str(data["ca"]),
                inputs=dict(data["inputs"]),
                files=dict(data["files"]),
                expires={
                    name: datetime.fromisoformat(end) for name, end in data["expires"].items()
                },
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def damaged(self, files: Mapping[str, Mapping[str, Any] | None]) -> Iterator[tuple[str, str]]:
        """Each file that is no longer as kubeadm made it, and how it is found."""
        for path, sha256 in self.files.items():
            found = files.get(path)
            if found is None:
                yield path, "missing"
            elif found["type"] != "file":
                yield path, f"a {found['type']}"
            elif found["sha256"] != sha256:
                yield path, f"changed (sha256 {str(found['sha256'])[:12]})"

    def changed_inputs(self, wanted: Mapping[str, str | None]) -> list[str]:
        """Paths of configuration that was made anew since kubeadm last read it."""
        return sorted(path for path, sha256 in wanted.items() if self.inputs.get(path) != sha256)

    def due(self, now: float, within: timedelta) -> dict[str, int]:
        """Days left by certificate, of those that end ``within`` the time from ``now``.

        ``now`` is the machine's clock in seconds since 1970.
        """
        moment = datetime.fromtimestamp(now, UTC)
        return {
            name: (end - moment).days for name, end in self.expires.items() if end - moment < within
        }
