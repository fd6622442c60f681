"""What waits for an approval, and the approval: two files, one written by each side."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from provision.errors import FindingsError, UsageError
from provision.watch.store import Store

PENDING = "pending"
APPROVAL = "approval"
ID_LENGTH = 12
MOST_FORMER = 20
"""How many ids are known as outdated ones."""


@dataclass(frozen=True)
class Pending:
    """A plan that waits."""

    id: str
    commit: str
    kind: str
    signer: str
    reasons: tuple[str, ...]
    """Why it is not applied unattended."""
    differences: tuple[str, ...]
    """How its site file differs from the one applied last."""
    plan: Mapping[str, Any]
    """As ``provision plan --json`` gives it."""
    text: tuple[str, ...]
    """The same in lines."""
    blocked: tuple[str, ...] = ()
    """Why it cannot be applied by anybody yet."""
    since: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json`` and the journal."""
        return asdict(self)


@dataclass(frozen=True)
class Approval:
    """Who allowed which plan, and when."""

    id: str
    commit: str
    by: str
    at: str


def identify(commit: str, plan: Mapping[str, Any]) -> str:
    """The id of what ``plan`` would do for ``commit``.

    Components with nothing to do do not count: their words tell of the moment.

    Parameters
    ----------
    plan
        As :meth:`provision.plan.Plan.as_dict` gives it.
    """
    phases = {name: item for name, item in plan["phases"].items() if item["decision"] != "skip"}
    counted = [commit, phases, plan["leftovers"], sorted(plan["unreachable"])]
    text = json.dumps(counted, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


def post(store: Store, pending: Pending) -> None:
    """Let ``pending`` wait, in place of what waited before, which is outdated then."""
    before = store.read(PENDING) or {}
    if before.get("id") == pending.id and before.get("reasons") == list(pending.reasons):
        return
    former = [*before.get("former", ()), before.get("id")]
    known = [name for name in former if name and name != pending.id][-MOST_FORMER:]
    store.write(PENDING, {**pending.as_dict(), "former": known})


def withdraw(store: Store) -> None:
    """Let nothing wait any more; an approval that was given for it is void."""
    store.remove(APPROVAL)
    store.remove(PENDING)


def approval(store: Store, name: str) -> Approval | None:
    """The approval of the plan with the id ``name``, where there is one."""
    data = store.read(APPROVAL)
    if data is None or data.get("id") != name:
        return None
    try:
        return Approval(**data)
    except TypeError as error:
        raise store.damaged(APPROVAL, str(error)) from error


def waiting(store: Store, name: str) -> Pending:
    """What waits under the id ``name``, ready to be approved.

    Raises
    ------
    UsageError
        Nothing waits under it, or what did is outdated.
    FindingsError
        Something of it is blocked, so that nobody could apply it.
    """
    data = store.read(PENDING)
    if data is None:
        raise UsageError(
            "nothing waits for an approval", found=name, fix="see what there is: provision plan"
        )
    former = data.pop("former", [])
    fields: dict[str, Any] = {
        key: tuple(item) if isinstance(item, list) else item for key, item in data.items()
    }
    try:
        found = Pending(**fields)
    except TypeError as error:
        raise store.damaged(PENDING, str(error)) from error
    if found.id != name:
        raise UsageError(
            "the plan with this id is outdated; it was not approved"
            if name in former
            else "no plan with this id waits for an approval",
            found=name,
            wanted=f"{found.id}, which waits now",
            fix=f"provision approve {found.id}",
        )
    if found.blocked:
        first, *others = found.blocked
        raise FindingsError(
            f"what waits is blocked, and an approval does not change that: {first}",
            where=f"commit {found.commit}",
            found="; ".join(others),
            fix="put that right in the repository or on the machines; the watcher looks again",
        )
    return found


def approve(store: Store, given: Approval) -> None:
    """Keep ``given`` for the watcher.

    Raises
    ------
    DiskFullError, SecretsError
        It cannot be written.
    """
    store.write(APPROVAL, asdict(given))


def render(pending: Pending) -> Iterator[str]:
    """What waits, in lines."""
    signed = f", signed by {pending.signer}" if pending.signer else ""
    yield f"commit {pending.commit}{signed}"
    yield from _listed("waits because", pending.reasons)
    yield from _listed("the site file", pending.differences)
    yield "the plan:"
    yield from (f"  {line}" for line in pending.text)


def _listed(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield f"{title}:"
        yield from (f"  {item}" for item in items)
