"""What the controller wants of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Order:
    """One machine's work; field by field what the module's documentation says."""

    step: str
    version: str
    node: str
    address: str
    endpoint: str
    control_plane: bool
    worker: bool
    peers: tuple[str, ...]
    repair: tuple[str, ...]
    renew: tuple[str, ...]
    register: bool
    apply_objects: bool
    credential: str
    """A kubeconfig; secret."""

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Order:
        """From the module's arguments."""
        lists = {name: tuple(arguments[name] or ()) for name in ("peers", "repair", "renew")}
        others = {name: arguments[name] for name in cls.__dataclass_fields__ if name not in lists}
        return cls(**{**others, **lists, "credential": arguments["credential"] or ""})

    @property
    def has_work(self) -> bool:
        """Whether anything is to be done at all."""
        return self.step != "keep" or bool(
            self.repair or self.renew or self.register or self.apply_objects
        )
