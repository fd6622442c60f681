"""A checkout of Phalanx's repository: what an environment enables, and whether it fits the site."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from provision.errors import UsageError
from provision.phalanx.preflight import Row, judged
from provision.phalanx.values import NO_YAML, application_file, environment_file

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
        The folder is no checkout of Phalanx, or a file there cannot be read, or is no YAML.
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
        differing = list(_differing(values, read_values(checkout / name)))
        yield judged(
            name,
            "; ".join(differing) or "says what the site does",
            "what values.yaml of the hand-over says",
            not differing,
            f"write it into {checkout / name}, and push it",
        )


def applications(checkout: Path, environment: str) -> Sequence[str]:
    """Names of the applications that an environment enables.

    Raises
    ------
    UsageError
        A file there is no YAML, or says no names.
    """
    switches = {
        **_switches(checkout / DEFAULTS),
        **_switches(checkout / environment_file(environment)),
    }
    return sorted(name for name, on in switches.items() if on)


def _switches(path: Path) -> Mapping[str, Any]:
    switches = read_values(path).get("applications") or {}
    if not isinstance(switches, Mapping):
        raise UsageError(
            "applications must say of each whether it is on",
            where=str(path),
            found=f"a {type(switches).__name__}",
            wanted="a mapping, NAME: true or false",
        )
    return {str(name): on for name, on in switches.items()}


def read_values(path: Path) -> Mapping[str, Any]:
    """What a file of a checkout says; nothing where there is none.

    Raises
    ------
    UsageError
        It cannot be read, or is no YAML.
    """
    try:
        text = yaml.safe_load(path.read_text("utf-8")) or {}
    except FileNotFoundError:
        return {}
    except OSError as error:
        found = error.strerror or str(error)
        raise UsageError("this cannot be read", where=str(path), found=found) from error
    except NO_YAML as error:
        raise UsageError("this is no YAML", where=str(path), found=str(error)) from error
    return text if isinstance(text, Mapping) else {}


def _parsed(text: Any) -> Any:
    """YAML within YAML by what it says."""
    try:
        return yaml.safe_load(text) if isinstance(text, str) else text
    except NO_YAML:
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
