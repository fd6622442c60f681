"""``verify``: try out, with throw-away objects, what users of the cluster will need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from time import monotonic
from typing import Any

from provision.app import Application
from provision.errors import OperatorError, UsageError
from provision.proof import AnyProof, NotProvenError, OutsideProof, Proof, discover_proofs

AT_ONCE = 4
"""Proofs that run at the same time: most of each is waiting."""


@dataclass(frozen=True)
class Verdict:
    """How one proof went."""

    proof: str
    proven: bool
    seconds: float
    detail: str

    def row(self, width: int = 20) -> str:
        """The verdict as a line, its name ``width`` columns wide."""
        mark = "ok " if self.proven else "BAD"
        return f"{mark}  {self.proof:{width}}  {self.seconds:6.1f} s  {self.detail}"


@dataclass(frozen=True)
class Verification:
    """How all proofs of a site went."""

    site: str
    verdicts: Sequence[Verdict]

    @property
    def proven(self) -> bool:
        """Whether every one of them was."""
        return all(verdict.proven for verdict in self.verdicts)

    def failure(self) -> NotProvenError | None:
        """The error for what was not proven, if anything."""
        bad = [verdict for verdict in self.verdicts if not verdict.proven]
        if not bad:
            return None
        first, *others = (f"{verdict.proof}: {verdict.detail}" for verdict in bad)
        return NotProvenError(
            f"{self.site} does not do all that it promises",
            found=first,
            also=others,
            fix="provision verify; how the site stands: provision status",
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {
            "site": self.site,
            "proven": self.proven,
            "proofs": [asdict(verdict) for verdict in self.verdicts],
        }


def verify_site(
    app: Application,
    only: Iterable[str] = (),
    tell: Callable[[Verdict], Verdict] = lambda verdict: verdict,
) -> Verification:
    """Prove everything that the site's components promise.

    Parameters
    ----------
    only
        Names of proofs; all without any.
    tell
        Gets each verdict as soon as those before it are there, and hands it on.

    Raises
    ------
    UsageError
        There is no proof of that name.
    OperatorError
        The cluster does not answer.
    """
    proofs = _select(app, only)
    todo = list(_todo(app, proofs))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts = pool.map(partial(_judge, app), *zip(*todo, strict=True)) if todo else ()
        return Verification(app.site.name, [tell(verdict) for verdict in verdicts])


def render(found: Verification) -> Iterator[str]:
    """A table with the time of each, and a last line that says it all."""
    width = max((len(verdict.proof) for verdict in found.verdicts), default=0)
    yield from (verdict.row(width) for verdict in found.verdicts)
    bad = sum(not verdict.proven for verdict in found.verdicts)
    yield (
        f"{found.site} does what it promises"
        if not bad
        else f"{found.site} does not do all that it promises ({bad} of {len(found.verdicts)});"
        " next: provision status"
    )


def _todo(app: Application, proofs: Iterable[AnyProof]) -> Iterator[tuple[AnyProof, str]]:
    """Each proof with each of its cases; the cluster is looked at where one needs it."""
    cluster = None
    for proof in proofs:
        if not isinstance(proof, Proof):
            yield proof, ""
            continue
        cluster = cluster or app.look_over()
        yield from ((proof, case) for case in proof.cases(cluster, app.site))


def _select(app: Application, only: Iterable[str]) -> list[AnyProof]:
    components = {phase.name for phase in app.phases}
    proofs = [proof for proof in discover_proofs() if proof.component in components]
    wanted = set(only)
    unknown = wanted - {proof.name for proof in proofs}
    if unknown:
        raise UsageError(
            f"there is no proof {', '.join(sorted(unknown))}",
            wanted=f"one of: {', '.join(proof.name for proof in proofs)}",
        )
    return [proof for proof in proofs if not wanted or proof.name in wanted]


def _judge(app: Application, proof: AnyProof, case: str) -> Verdict:
    started = monotonic()
    try:
        with _prover(app, proof, case) as prove:
            detail, proven = prove(), True
            seconds = monotonic() - started
    except OperatorError as error:
        detail, proven = f"{error.what}: {error.found}" if error.found else error.what, False
        seconds = monotonic() - started
    return Verdict(f"{proof.name} {case}".strip(), proven, round(seconds, 1), detail)


@contextmanager
def _prover(app: Application, proof: AnyProof, case: str) -> Iterator[Callable[[], str]]:
    """What proves it: on a ground of its own in the cluster, or outside."""
    if isinstance(proof, OutsideProof):
        yield partial(proof.prove, app.outside())
    elif isinstance(proof, Proof):
        with app.ground(proof.name.replace(" ", "-")) as ground:
            yield partial(proof.prove, ground, case)
