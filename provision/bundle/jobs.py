"""Independent pieces of work, done several at a time, all failures told together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from provision.bundle.cancellation import Cancellation
from provision.bundle.progress import Outcome, Progress
from provision.bundle.transfer_errors import Cancelled
from provision.errors import BundleError, DiskFullError, OperatorError

PARALLEL = 4
"""Pieces at once: enough to fill a line, few enough not to be turned away."""


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Parameters
    ----------
    name
        What the progress shows.
    work
        Does it, and says how it ended.
    """

    name: str
    work: Callable[[], Outcome]


def run_jobs(jobs: Sequence[Job], progress: Progress, cancelled: Cancellation) -> None:
    """Do all ``jobs``; one that fails does not stop the others, so they need not be done again.

    Parameters
    ----------
    cancelled
        Set when the operator interrupts, or the disk is full; running jobs look at it.

    Raises
    ------
    OperatorError
        The failure, or one that lists several.
    """
    failures: list[OperatorError] = []
    with ThreadPoolExecutor(PARALLEL) as pool:
        running: list[Future[OperatorError | None]] = []
        try:
            running += [pool.submit(_run, job, progress, cancelled) for job in jobs]
            for future in as_completed(running):
                failure = future.result()
                if failure is None:
                    continue
                failures.append(failure)
                if isinstance(failure, DiskFullError):
                    _stop(running, cancelled)
        except BaseException:
            _stop(running, cancelled)
            raise
    if failures:
        raise together(failures)


def together(failures: Sequence[OperatorError]) -> OperatorError:
    """One error for all ``failures``: a full disk explains the others, else each is named."""
    full = [failure for failure in failures if isinstance(failure, DiskFullError)]
    if len(failures) == 1 or full:
        return (full or failures)[0]
    first, *others = sorted(failures, key=lambda failure: failure.where)
    return BundleError(
        first.what,
        where=first.where,
        found=first.found,
        wanted=first.wanted,
        why=first.why,
        fix=first.fix,
        also=[f"{other.where}: {other.what}: {other.found}" for other in others],
    )


def _run(job: Job, progress: Progress, cancelled: Cancellation) -> OperatorError | None:
    if cancelled.is_set():
        return None
    started = time.monotonic()
    progress.started(job.name)
    try:
        outcome = job.work()
    except Cancelled:
        return None
    except OperatorError as error:
        progress.finished(job.name, "failed", time.monotonic() - started)
        return error
    progress.finished(job.name, outcome, time.monotonic() - started)
    return None


def _stop(running: Sequence[Future[OperatorError | None]], cancelled: Cancellation) -> None:
    cancelled.set()
    for future in running:
        future.cancel()
