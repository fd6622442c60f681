"""Sites of any size with every component's settings."""

from __future__ import annotations

from collections.abc import Collection

from provision.plan import discover, settings_models
from provision.site import Site, site_model
from tests.support.cases import optional_components, sample_settings

WITHOUT = {"phalanx": ("argocd", "cert_manager", "platform")}
"""What a component is not tried together with: Phalanx brings these itself."""


def site_of(control_plane: int, workers: int = 0, *, without: Collection[str] = ()) -> Site:
    """A site of ``n1``, ``n2``, …, the first ones control-plane machines that also work."""
    hosts = {
        f"n{number}": {
            "address": f"192.0.2.{number}",
            "parts": ["control_plane", "worker"] if number <= control_plane else ["worker"],
        }
        for number in range(1, control_plane + workers + 1)
    }
    return site_model(settings_models(discover())).model_validate(
        {
            "name": "unit",
            "network": {"machines": "192.0.2.0/24"},
            "hosts": hosts,
            "api_endpoint": {"address": "192.0.2.100"},
            "kubernetes": {"version": "1.36.3"},
            **{
                name: sample_settings(name) for name in optional_components() if name not in without
            },
        }
    )
