"""Objects of the repository, compared with what their kinds look like."""

from __future__ import annotations

from collections.abc import Sequence

from provision.checkout.definitions import DEFINITION
from provision.checkout.objects import Made
from provision.checkout.schemas import Schemas
from provision.checkout.told import AGAIN, Told


def judge_kinds(told: Told, schemas: Schemas, made: Sequence[Made]) -> None:
    """Tell of everything that the API server would refuse, and of kinds that nobody describes."""
    schemas.define(one.item for one in made if one.item["kind"] == DEFINITION)
    unknown: dict[str, list[str]] = {}
    for one in made:
        faults = schemas.faults(one.item)
        if faults is None:
            api_version, kind = str(one.item["apiVersion"]), str(one.item["kind"])
            near = "".join(f"; there is {other}" for other in schemas.near(api_version, kind)[:1])
            users = unknown.setdefault(f"{kind} ({api_version}{near})", [])
            users += [one.who] if one.who not in users else []
        for fault in faults or ():
            place = f" ({one.file})" if one.file else ""
            told.error(
                f"{one.who}: {_called(one)} is not as Kubernetes {schemas.version} takes it",
                found=f"{fault.found}{place}",
                wanted=fault.wanted,
            )
    if unknown:
        told.warning(
            "nothing here says what some kinds look like; their objects were not looked into",
            found="; ".join(f"{kind} of {', '.join(users)}" for kind, users in unknown.items()),
            wanted="a CustomResourceDefinition, in the repository or of a component of the site",
            fix=f"where a kind is misspelt, correct it, {AGAIN}",
        )


def _called(one: Made) -> str:
    """``Kind namespace/name``, the namespace only where the object names it."""
    metadata = one.item["metadata"]
    name = metadata.get("name") or f"{metadata.get('generateName')}…"
    namespace = metadata.get("namespace")
    return f"{one.item['kind']} {namespace}/{name}" if namespace else f"{one.item['kind']} {name}"
