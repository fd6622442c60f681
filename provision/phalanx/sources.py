"""Where Argo CD gets an environment from: the Git server and chart repositories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from provision.phalanx.checkout import applications, read_values
from provision.phalanx.preflight import Row, judged
from provision.phalanx.values import application_file

PORTS = {"http": 80, "https": 443, "oci": 443}
"""By the scheme of an address; others name no server."""
PROXY = "https_proxy"
"""Variable by which Argo CD is told of a proxy, in whatever case."""


def source_rows(checkout: Path, environment: str, url: str, egress: Sequence[str]) -> Iterator[Row]:
    """Whether each is among what pods are known to reach.

    No row where Argo CD's values name a proxy: what pods must reach then is that.

    Parameters
    ----------
    url
        Where Argo CD reads the repository.
    egress
        What the site file lists, ``HOST:PORT`` each; whether pods reach it is proven elsewhere.

    Raises
    ------
    UsageError
        A file of the checkout cannot be read, or is no YAML.
    """
    argocd = read_values(checkout / application_file("argocd", environment))
    if PROXY in str(argocd).lower():
        return
    names = applications(checkout, environment)
    wanted = {endpoint(url), *(endpoint(item) for item in _repositories(checkout, names))} - {""}
    unlisted = sorted(wanted - set(egress))
    yield judged(
        "servers that Argo CD reads",
        f"not in network.egress: {', '.join(unlisted)}" if unlisted else f"all {len(wanted)} known",
        "in network.egress of the site file, so that pods try them",
        not unlisted,
        f"network.egress: [{', '.join([*egress, *unlisted])}] in the site file",
    )


def endpoint(url: str) -> str:
    """``HOST:PORT`` of an address; empty where it names no server."""
    try:
        told = urlsplit(url)
        port = told.port or PORTS.get(told.scheme)
    except ValueError:
        return ""
    return f"{told.hostname}:{port}" if told.hostname and told.scheme in PORTS else ""


def _repositories(checkout: Path, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        chart = read_values(checkout / "applications" / name / "Chart.yaml")
        dependencies: Any = chart.get("dependencies")
        for one in dependencies if isinstance(dependencies, list) else ():
            yield str(one.get("repository", "")) if isinstance(one, dict) else ""
