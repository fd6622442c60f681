"""Apply objects in the order in which a cluster can take them, or delete them in reverse.

Namespaces and definitions of kinds come first, then what Kubernetes itself
knows, then instances of the defined kinds: those are often judged by a webhook
that one of the workloads just applied has to serve, and must not be judged by
what it replaces.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from .kubectl import Answer, Kubectl, Object, ObjectsError

GROUND = ("Namespace", "CustomResourceDefinition")
ESTABLISHED_SECONDS = 60
ADMITTED_SECONDS = 300.0
"""A webhook may wait for its pods, its certificate, and the API server's own look at both."""
GONE_SECONDS = 120
INTERVAL = 1.0
NOT_YET = (
    "failed calling webhook",
    "no matches for kind",
    "ensure CRDs are installed first",
    # An API server that has just started, or learnt a kind, is still putting its schema together.
    "the server is currently unable to handle the request",
)
"""What the API server says while an instance cannot be taken yet."""
UNSEEN = ("accessor error: <nil> is of the type <nil>",)
"""What kubectl says of a definition that the API server has not looked at yet: it has a list of
conditions, and that is null."""


def stages(objects: Sequence[Object]) -> list[list[Object]]:
    """The objects in groups, in the order in which they can be applied; no group is empty."""
    ground = [item for item in objects if item["kind"] in GROUND]
    instances = [item for item in objects if item not in ground and not _is_built_in(item)]
    rest = [item for item in objects if item not in ground and item not in instances]
    return [stage for stage in (ground, rest, instances) if stage]


def _is_built_in(item: Object) -> bool:
    group = str(item["apiVersion"]).rpartition("/")[0]
    return "." not in group or group.endswith(".k8s.io")


def differ(objects: Sequence[Object], kubectl: Kubectl) -> bool:
    """Whether :func:`apply` would change anything."""
    return any(kubectl.differs(stage) for stage in stages(objects))


def apply(
    objects: Sequence[Object],
    kubectl: Kubectl,
    *,
    seconds: float = ADMITTED_SECONDS,
    interval: float = INTERVAL,
) -> bool:
    """Apply what differs; whether anything did.

    Parameters
    ----------
    seconds
        How long the cluster may take to be able to take instances.
    interval
        Seconds between two attempts.

    Raises
    ------
    ObjectsError
        The cluster refuses an object, or does not take it in time.
    """
    changed = False
    deployed: list[Object] = []
    for stage in stages(objects):
        if not kubectl.differs(stage):
            continue
        changed = True
        if deployed:
            _require(kubectl.rolled_out(deployed, seconds))
        _until(
            partial(kubectl.apply, stage),
            NOT_YET,
            f"for the cluster to take {_named(stage)}",
            seconds,
            interval,
        )
        kinds = [item for item in stage if item["kind"] == "CustomResourceDefinition"]
        if kinds:
            _until(
                partial(kubectl.wait, "Established", kinds, ESTABLISHED_SECONDS),
                UNSEEN,
                f"for the cluster to know {_named(kinds)}",
                ESTABLISHED_SECONDS,
                interval,
            )
        deployed = [item for item in stage if item["kind"] == "Deployment"]
    return changed


def _until(
    attempt: Callable[[], Answer],
    not_yet: Sequence[str],
    what: str,
    seconds: float,
    interval: float,
) -> None:
    """Attempt it again for as long as the cluster says that it is only too early."""
    deadline = time.monotonic() + seconds
    while True:
        answer = attempt()
        if answer.code == 0:
            return
        if not any(words in answer.said for words in not_yet):
            _require(answer)
        if time.monotonic() > deadline:
            raise ObjectsError(f"waited {seconds:.0f} seconds in vain {what}:\n{answer.said}")
        time.sleep(interval)


def delete(objects: Sequence[Object], kubectl: Kubectl) -> bool:
    """Delete what is there; False where no API server answers, which then has nothing to lose.

    Raises
    ------
    ObjectsError
        An object does not go.
    """
    for stage in reversed(stages(objects)):
        answer = kubectl.delete(stage, GONE_SECONDS)
        if answer.no_api:
            return False
        if not answer.only_unknown_kinds:
            _require(answer)
    return True


def present(objects: Sequence[Object], kubectl: Kubectl) -> bool:
    """Whether any of the objects is in the cluster."""
    answer = kubectl.attempt("get", objects, "--ignore-not-found", "--output=name")
    return bool(answer.out.strip())


def _require(answer: Answer) -> None:
    if answer.code != 0:
        raise ObjectsError(answer.said)


def _named(stage: Sequence[Object]) -> str:
    return ", ".join(f"{item['kind']} {item['metadata']['name']}" for item in stage[:5])
