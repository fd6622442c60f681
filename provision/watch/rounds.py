"""One look at the repository: fetch, judge, and apply or let wait.

Whatever moment it dies at, the next round finds out by the machines themselves what is left to do;
what it keeps is who is in force, what waits, and which attempt has not ended well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from provision.errors import (
    ConfigError,
    ExitCode,
    FindingsError,
    LockedError,
    OperatorError,
    PhaseFailedError,
    UnreachableError,
)
from provision.plan import Plan, render
from provision.site import LoadedSite, Site
from provision.watch import baseline, pending
from provision.watch.baseline import Baseline
from provision.watch.classify import Difference, Kind, difference, effective
from provision.watch.named import refuse_prompts
from provision.watch.pending import Approval, Pending
from provision.watch.repository import Repository
from provision.watch.store import Store
from provision.yamlfile import YamlFile, read_yaml

ATTEMPT = "attempt"
"""What is kept from before a commit is applied until that has ended well."""
DIED = "the watcher ended while it applied this"
STOPPED = "the watcher was stopped before it had proven this"
SHORT = 12
"""Digits of a commit that people are shown."""


class Ended(Protocol):
    """How applying a site ended."""

    @property
    def complete(self) -> bool:
        """Whether everything is now so."""

    @property
    def word(self) -> str:
        """``done``, ``interrupted`` or ``failed``."""

    @property
    def error(self) -> OperatorError | None:
        """What it ended with."""

    @property
    def failed(self) -> Mapping[str, str]:
        """Why, by machine."""

    @property
    def stopped(self) -> str:
        """Why it ended early."""


Judge = Callable[[YamlFile], LoadedSite]
"""Makes a site of a YAML file, every component having judged its part."""
Announce = Callable[[str, Mapping[str, Any]], None]
"""Tells what is about to be done, in words and as data."""
Agreed = Callable[[Plan], None]
"""Refuses a plan that is not the one that may be applied."""


class OutdatedError(FindingsError):
    """The machines changed between the approval and the work."""


class SilentError(UnreachableError):
    """A machine does not answer, and nobody would see to it."""


@dataclass(frozen=True)
class Standing:
    """How a round ended."""

    word: str
    """``done``, ``waiting``, ``failed`` or ``interrupted``."""
    text: str
    code: ExitCode = ExitCode.OK
    data: Mapping[str, Any] = field(default_factory=dict)
    fresh: bool = False
    """Whether something was done, so that it is news whatever was told before."""

    @property
    def key(self) -> str:
        """What makes it another one than that of the round before."""
        return f"{self.word}: {self.text}"


@dataclass(frozen=True)
class _Look:
    """A commit, its site, and what applying it would do."""

    base: Baseline
    new: Baseline
    loaded: LoadedSite
    text: str
    signer: str
    difference: Difference
    plan: Plan
    reasons: tuple[str, ...]

    @property
    def commit(self) -> str:
        return self.new.commit

    @property
    def id(self) -> str:
        return pending.identify(self.commit, self.plan.as_dict())


class Watcher:
    """Follows a site's repository.

    Parameters
    ----------
    started
        The site file that it was started with; in force until a commit has been applied.
    store, repository
        Where it remembers, and what it looks at.
    model
        Reads the site file that was applied last.
    judge
        Makes a site of a commit's site file.
    optional
        Keys of components that a site has only where their key stands.
    plan
        What applying a site would do.
    apply
        Applies a site, unless its plan is not agreed to, and proves it where anything was changed,
        or where it is told to.
    announce
        Tells what is about to be done.
    stopping
        Whether to begin nothing any more.
    """

    def __init__(
        self,
        started: Baseline,
        store: Store,
        repository: Repository,
        *,
        model: type[Site],
        judge: Judge,
        optional: Collection[str],
        plan: Callable[[Site], Plan],
        apply: Callable[[Site, Agreed, bool], Ended],
        announce: Announce,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.started = started
        self.store = store
        self.repository = repository
        self.model = model
        self.judge = judge
        self.optional = optional
        self.plan = plan
        self.apply = apply
        self.announce = announce
        self.stopping = stopping

    def in_force(self) -> Baseline:
        """What commits are judged by now.

        Raises
        ------
        OperatorError
            What was applied last cannot be read.
        """
        return baseline.recorded(self.store, self.model) or self.started

    def once(self) -> Standing:
        """Look once, and do what may be done.

        Raises
        ------
        OperatorError
            The repository, the commit or a machine cannot be used; nothing was changed.
        """
        base = self.in_force()
        policy = base.policy
        commit = self.repository.fetch(policy.repository, policy.revision)
        if self.stopping():
            return _stopped(commit)
        signer = "" if base.signers is None else self.repository.signer(commit, base.signers)
        look = self._look(base, commit, signer)
        if self.stopping():
            return _stopped(commit)
        if look.reasons:
            return self._with_approval(look)
        _refuse_silent(look.plan)
        return self._unattended(look)

    def _look(self, base: Baseline, commit: str, signer: str) -> _Look:
        folder = self.repository.checkout(commit)
        path = folder / base.policy.site_file
        where = f"commit {commit[:SHORT]}: {base.policy.site_file}"
        _refuse_outside(path, folder, where)
        source = read_yaml(path)
        loaded = self.judge(source)
        if loaded.site.name != self.started.site.name:
            raise ConfigError(
                "the commit's site file is another site's; it was left alone",
                where=where,
                found=loaded.site.name,
                wanted=self.started.site.name,
                why="a site's secrets and its state belong to its name",
                fix="correct name, or watch that site: provision watch --site SITE",
            )
        new = baseline.of_site_file(loaded.site, where, commit)
        refuse_prompts(loaded.site, where)
        differs = difference(effective(base.site), effective(loaded.site), self.optional)
        plan = self.plan(loaded.site)
        reasons = tuple(self._reasons(base, new, differs, plan))
        text = path.read_text("utf-8-sig")
        return _Look(base, new, loaded, text, signer, differs, plan, reasons)

    def _reasons(self, base: Baseline, new: Baseline, differs: Difference, plan: Plan) -> list[str]:
        """Why the commit is not applied unattended."""
        reasons = []
        if differs.kind is Kind.CHANGES:
            reasons.append("the site file changes what it said before")
        reasons += [
            f"the file {path}, which the site file names, changes"
            for path, before in base.files.items()
            if new.files.get(path) != before
        ]
        if base.commit and not self.repository.descends(new.commit, base.commit):
            reasons.append("the commit was not made on top of the one that was applied last")
        if plan.findings:
            reasons.append("something is blocked")
        at_all = plan.changes or bool(differs.added)
        if at_all and not reasons and differs.kind.value not in base.policy.unattended:
            reasons.append(f"watch.unattended does not name {differs.kind}")
        attempt = self.store.read(ATTEMPT) or {}
        again = attempt.get("commit") == new.commit and (reasons or plan.changes)
        # Whatever is applied is proven; where nothing is to be applied, it would never be.
        unproven = attempt.get("unproven", False) and not plan.changes
        if again or unproven:
            reasons.append(f"the last attempt did not end well: {attempt.get('what', '')}")
        return reasons

    def _with_approval(self, look: _Look) -> Standing:
        given = pending.approval(self.store, look.id)
        if given is not None and not look.plan.findings:
            return self._apply(look, given)
        waits = Pending(
            id=look.id,
            commit=look.commit,
            kind=look.difference.kind.value,
            signer=look.signer,
            reasons=look.reasons,
            differences=(*(f"{key} new" for key in look.difference.added), *look.difference.other),
            plan=look.plan.as_dict(),
            text=tuple(render(look.plan)),
            blocked=look.plan.findings,
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        pending.post(self.store, waits)
        lines = "\n".join(f"  {line}" for line in pending.render(waits))
        last = (
            "nobody can apply it while something is blocked"
            if waits.blocked
            else f"to allow it: provision approve {waits.id}"
        )
        text = f"{look.loaded.site.name} waits for an approval: {waits.id}\n{lines}\n{last}"
        told = ("id", "commit", "kind", "signer", "reasons", "differences", "plan")
        data = {"watch": "waiting", **{name: getattr(waits, name) for name in told}}
        return Standing("waiting", text, ExitCode.CHANGES, data)

    def _unattended(self, look: _Look) -> Standing:
        if look.plan.changes:
            return self._apply(look, None)
        return self._settled(look, None)

    def _apply(self, look: _Look, given: Approval | None) -> Standing:
        """Apply a commit as ``up`` does; what fails is not tried again by itself."""
        before = self.store.read(ATTEMPT)
        # Written first: who dies in the middle does not begin again by itself.
        self.store.write(ATTEMPT, {"commit": look.commit, "what": DIED, "unproven": True})
        self.store.remove(pending.APPROVAL)
        try:
            unproven = before is not None and before.get("unproven", False)
            agreement = _Agreement(look, given, self.announce)
            ended = self.apply(look.loaded.site, agreement, unproven)
        except (LockedError, SilentError):
            self._give_back(given, before)
            raise
        except OutdatedError as error:
            self._not_attempted(before)
            outdated = {"watch": "outdated", "commit": look.commit}
            return Standing("waiting", str(error), ExitCode.CHANGES, outdated, fresh=True)
        except OperatorError as error:
            return self._failed(look, error.what, error)
        if ended.complete:
            return self._settled(look, given)
        if ended.word == "interrupted" and not _went_wrong(ended, look.plan):
            # It may have been stopped after the last step, and then nothing is left to do.
            attempt = before or {"commit": "", "what": STOPPED}
            self._give_back(given, {**attempt, "unproven": True})
            return _stopped(look.commit)
        if ended.error is not None:
            return self._failed(look, str(ended.error).partition("\n")[0], ended.error)
        what = "; ".join(f"{host}: {why}" for host, why in ended.failed.items()) or ended.stopped
        return self._failed(look, what.partition("\n")[0], PhaseFailedError(what))

    def _give_back(self, given: Approval | None, before: Mapping[str, Any] | None) -> None:
        """As if it had not been begun."""
        if given is not None:
            pending.approve(self.store, given)
        self._not_attempted(before)

    def _not_attempted(self, before: Mapping[str, Any] | None) -> None:
        """Remember the attempt ``before`` in place of this one: it has not ended well yet."""
        if before is None:
            self.store.remove(ATTEMPT)
        else:
            self.store.write(ATTEMPT, before)

    def _failed(self, look: _Look, what: str, error: OperatorError) -> Standing:
        """Remember that the commit failed, and ``what`` with."""
        # Who puts right what a machine failed at does so by `up`, which proves it.
        unproven = not isinstance(error, PhaseFailedError)
        self.store.write(ATTEMPT, {"commit": look.commit, "what": what, "unproven": unproven})
        # Who gave one while it was applied did not know of the failure.
        self.store.remove(pending.APPROVAL)
        told = (
            f"commit {look.commit[:SHORT]} could not be applied: {error}\n"
            "it is not tried again by itself; what is left to do or to prove waits for an approval"
            " from the next round on"
        )
        data = {"watch": "failed", "commit": look.commit, "error": str(error)}
        return Standing("failed", told, error.exit_code, data, fresh=True)

    def _settled(self, look: _Look, given: Approval | None) -> Standing:
        """The commit is what the machines are: it is in force from here on."""
        by = given.by if given else ""
        if look.base.commit != look.commit:
            self.repository.keep(look.commit)
            baseline.record(self.store, look.new, look.text, by)
        self.store.remove(ATTEMPT)
        pending.withdraw(self.store)
        data = {"watch": "done", "commit": look.commit, "signer": look.signer, "by": by}
        text = f"{look.loaded.site.name} is as commit {look.commit[:SHORT]} says"
        done = given is not None or look.plan.changes
        return Standing("done", text, ExitCode.OK, data, fresh=done)


def of_error(error: OperatorError) -> Standing:
    """A round that ended with an error."""
    data = {"watch": "failed", "error": error.what, "where": error.where}
    return Standing("failed", str(error), error.exit_code, data)


def _went_wrong(ended: Ended, plan: Plan) -> bool:
    """Whether what was stopped had not only been stopped between steps.

    Machines that did not answer before count as left behind from its beginning.
    """
    return ended.error is not None or not set(ended.failed) <= set(plan.unreachable)


def _stopped(commit: str) -> Standing:
    data = {"watch": "interrupted", "commit": commit}
    return Standing("interrupted", "stopped by the operator", ExitCode.INTERRUPTED, data)


class _Agreement:
    """What ``up`` asks when it has planned itself: the machines may have changed meanwhile.

    It is then that the work is announced: until there the site may be locked.
    """

    def __init__(self, look: _Look, given: Approval | None, announce: Announce) -> None:
        self.look = look
        self.given = given
        self.announce = announce
        self.announced = False

    def __call__(self, plan: Plan) -> None:
        commit, given = self.look.commit, self.given
        if given is not None and pending.identify(commit, plan.as_dict()) != given.id:
            raise OutdatedError(
                "the plan is not the one that was approved any more; nothing was changed",
                where=f"commit {commit}",
                found=given.id,
                fix="the watcher looks again, and asks anew",
            )
        if given is None:
            _refuse_silent(plan)
        if self.announced:
            return
        self.announced = True
        kind, by = self.look.difference.kind, given.by if given else ""
        allowed = f", approved by {by}" if by else ""
        data = {"watch": "applying", "commit": commit, "kind": kind.value, "by": by}
        self.announce(f"applying commit {commit[:SHORT]} ({kind}{allowed})", data)


def _refuse_silent(plan: Plan) -> None:
    """Unattended, nothing is begun while a machine does not answer: nobody would see to it."""
    if plan.unreachable:
        names = ", ".join(plan.unreachable)
        raise SilentError(
            "the watcher applies nothing unattended while a machine does not answer",
            where=names,
            found="; ".join(plan.unreachable.values()),
            why="its part would be missing, and nobody looks on",
            fix="provision check; or without that machine: provision up",
        )


def _refuse_outside(path: Path, folder: Path, where: str) -> None:
    if not path.is_file():
        raise ConfigError(
            "the commit has no site file there",
            where=where,
            found="nothing" if not path.exists() else "no file",
            fix="correct watch.site_file, or put the site file there",
        )
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(
            "the commit's site file is a link that leads out of the repository",
            where=where,
            fix="put the site file itself there",
        )
