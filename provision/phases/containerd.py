"""``containerd``: the container runtime, which pulls its images from the site's depots."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import tomli_w
from pydantic import Field, field_validator

from provision.depot_tree import registry
from provision.errors import BundleError
from provision.merge import deep_merge
from provision.phase import AnsiblePhase, BundleView, Context
from provision.phases.depot import depot_urls
from provision.site import Settings, Site

HOSTS = "/etc/containerd/certs.d"
"""Folder that says for each registry where its images are pulled from."""

SERVICE: Mapping[str, str | int] = {
    "LimitNPROC": "infinity",
    "LimitCORE": "infinity",
    "TasksMax": "infinity",
    "OOMScoreAdjust": -999,
}
"""Directives of containerd's own unit (``containerd.service`` of its source) that not every
sandbox grants."""

Directive = Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]+$")]
Value = Annotated[str, Field(pattern=r"^[^\r\n]*$")]


class ContainerdSettings(Settings):
    """The container runtime."""

    component = "containerd"

    config: dict[str, Any] = Field(default_factory=dict)
    """What is laid over containerd's configuration (config.toml, version 3), as a mapping of
    the same shape; null takes a key away."""
    service: dict[Directive, int | Value | None] = Field(default_factory=dict)
    """Directives for the section [Service] of the unit, by name (systemd.exec(5)); null takes
    one of the usual ones away: LimitNPROC, LimitCORE, TasksMax, OOMScoreAdjust."""
    upstream_fallback: bool = False
    """Whether an image that no depot has is looked for at its upstream registry."""

    @field_validator("config")
    @classmethod
    def _fits_toml(cls, value: dict[str, Any]) -> dict[str, Any]:
        if value.get("version", 3) != 3:
            raise ValueError(f"version is {value['version']!r}, but the configuration is version 3")
        try:
            tomli_w.dumps(_without_nulls(value))
        except (TypeError, ValueError) as error:
            raise ValueError(f"it cannot be written as TOML: {error}") from error
        return value


class ContainerdPhase(AnsiblePhase):
    """containerd, runc and the CNI plugins on every machine."""

    name = "containerd"
    after = ("depot",)
    settings = ContainerdSettings

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """Variables of the role ``containerd``."""
        settings = context.site.settings(ContainerdSettings)
        base = base_config(sandbox_image(context.bundle))
        return {
            "containerd_config": _without_nulls(deep_merge(base, settings.config)),
            "containerd_service": deep_merge(SERVICE, settings.service),
            "containerd_registries": list(_registries(context, host)),
        }


def base_config(sandbox: str) -> dict[str, Any]:
    """The configuration before a site's own settings: upstream's advice for Kubernetes.

    containerd's documentation recommends ``SystemdCgroup`` on systemd machines
    (``docs/cri/config.md``). Without ``config_path`` the kubelet's pulls would
    not look at ``hosts.toml``; ``ctr`` has its own option ``--hosts-dir``.

    Parameters
    ----------
    sandbox
        Image that holds a pod's namespaces; it is never removed to make room.
    """
    return {
        "version": 3,
        "plugins": {
            "io.containerd.cri.v1.images": {
                "pinned_images": {"sandbox": sandbox},
                "registry": {"config_path": HOSTS},
            },
            "io.containerd.cri.v1.runtime": {
                "cni": {"bin_dirs": ["/opt/cni/bin"], "conf_dir": "/etc/cni/net.d"},
                "containerd": {
                    "default_runtime_name": "runc",
                    "runtimes": {
                        "runc": {
                            "runtime_type": "io.containerd.runc.v2",
                            "options": {
                                "BinaryName": "/usr/local/sbin/runc",
                                "SystemdCgroup": True,
                            },
                        }
                    },
                },
            },
        },
    }


def _without_nulls(value: Mapping[str, Any]) -> dict[str, Any]:
    """``value`` without the keys that are null, at any depth: TOML has no null."""
    return {
        key: _without_nulls(inner) if isinstance(inner, Mapping) else inner
        for key, inner in value.items()
        if inner is not None
    }


def sandbox_image(bundle: BundleView) -> str:
    """Reference of the bundle's sandbox image, Kubernetes' ``pause``.

    Raises
    ------
    BundleError
        The bundle has none, or several.
    """
    found = [name for name in bundle.images if name.rpartition("/")[2].startswith("pause:")]
    if len(found) != 1:
        raise BundleError(
            "the bundle must hold one image called pause",
            found=", ".join(found) or "none",
            why="every pod is built around it",
            fix="provision bundle build",
        )
    return found[0]


def _registries(context: Context, host: str) -> Iterator[dict[str, Any]]:
    settings = context.site.settings(ContainerdSettings)
    depots = depots_for(context.site, host)
    for name in sorted({registry(reference) for reference in context.bundle.images}):
        yield {
            "name": name,
            "depots": depots,
            "upstream_fallback": settings.upstream_fallback,
        }


def depots_for(site: Site, host: str) -> list[str]:
    """Addresses of all depots in the order in which ``host`` asks them.

    A machine asks its own depot first. Machines without one begin at different
    depots, chosen by the machine's name, so that adding a machine changes no other.
    """
    depots = depot_urls(site)
    if host in site.control_plane:
        first = site.control_plane.index(host)
    else:
        first = zlib.crc32(host.encode()) % len(depots)
    return depots[first:] + depots[:first]
