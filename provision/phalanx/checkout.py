"""A checkout of Phalanx's repository: what an environment enables, and whether it fits the site."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from provision.errors import UsageError
from provision.phalanx.preflight import Row, judged
from provision.phalanx.values import application_file, environment_file

DEFAULTS = "environments/values.yaml"
"""What holds for every environment that does not say otherwise."""


def checkout_rows(
    checkout: Path, environment: str, wanted: Mapping[str, Mapping[str, Any]]
) -> Iterator[Row]:
    """Whether the environment's files are there and say what follows from the site.

    Parameters
    ----------
    wanted
        From :func:`provision.phalanx.values.environment_values`.

    Raises
    ------
    UsageError
        The folder is no checkout of Phalanx, or a file there is no YAML.
    """
    if not (checkout / DEFAULTS).is_file():
        raise UsageError(
            "this is no checkout of Phalanx",
            where=str(checkout),
            found=f"no {DEFAULTS}",
            fix="git clone https://github.com/lsst-sqre/phalanx",
        )
    enabled = applications(checkout, environment)
    missing = [
        application_file(name, environment)
        for name in enabled
        if not (checkout / application_file(name, environment)).is_file()
    ]
    yield judged(
        "values of every application",
        f"missing: {', '.join(missing)}" if missing else f"there, of {len(enabled)}",
        "a file each, even an empty one",
        not missing,
        f"cd {checkout} && touch {' '.join(missing)}",
    )
    for name, values in wanted.items():
        differing = list(_differing(values, _read(checkout / name)))
        yield judged(
            name,
            "; ".join(differing) or "says what the site does",
            "what values.yaml of the hand-over says",
            not differing,
            f"write it into {checkout / name}, and push it",
        )


def applications(checkout: Path, environment: str) -> Sequence[str]:
    """Names of the applications that an environment enables."""
    switches = {
        **(_read(checkout / DEFAULTS).get("applications") or {}),
        **(_read(checkout / environment_file(environment)).get("applications") or {}),
    }
    return sorted(name for name, on in switches.items() if on)


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        text = yaml.safe_load(path.read_text("utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError("this is no YAML", where=str(path), found=str(error)) from error
    return text if isinstance(text, Mapping) else {}


def _parsed(text: Any) -> Any:
    """YAML within YAML by what it says."""
    try:
        return yaml.safe_load(text) if isinstance(text, str) else text
    except yaml.YAMLError:
        return text


def _differing(wanted: Mapping[str, Any], found: Any, above: str = "") -> Iterator[str]:
    for key, value in wanted.items():
        has = found.get(key) if isinstance(found, Mapping) else None
        if isinstance(value, Mapping):
            yield from _differing(value, has, f"{above}{key}.")
        elif has is None:
            yield f"{above}{key} is missing"
        elif has != value and _parsed(has) != _parsed(value):
            yield f"{above}{key} is {has}"
