"""A synchronisation that Argo CD was asked for, judged on what its API says. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from provision.argocd.applications import Object

ENDED = ("Succeeded", "Failed", "Error")
"""Phases after which nothing of it goes on."""


@dataclass(frozen=True)
class Operation:
    """The last synchronisation of an application."""

    application: str
    phase: str
    """Argo CD's own word; ``Pending`` where it has not begun yet."""
    message: str

    @property
    def ended(self) -> bool:
        """Whether nothing of it goes on."""
        return self.phase in ENDED

    @property
    def succeeded(self) -> bool:
        """Whether everything was applied."""
        return self.phase == "Succeeded"


def operation_of(application: Object) -> Operation:
    """How the last synchronisation of ``application`` stands."""
    state = application.get("status", {}).get("operationState") or {}
    waiting = "operation" in application and state.get("phase") != "Running"
    return Operation(
        application=str(application["metadata"]["name"]),
        phase="Pending" if waiting else str(state.get("phase") or "Pending"),
        message=str(state.get("message") or ""),
    )
