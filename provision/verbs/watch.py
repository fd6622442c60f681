"""``watch``: follows the site's repository, round by round, and tells what is news."""

from __future__ import annotations

import getpass
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from provision.app import Application, judged
from provision.engine import Interrupt, Outcome
from provision.errors import OperatorError
from provision.events import Event
from provision.locallock import local_lock
from provision.paths import cache_path
from provision.plan import Plan, discover, settings_models
from provision.report import Reporter, Unshown
from provision.site import Site, site_model
from provision.verbs.record import holder, recorded
from provision.verbs.up import bring_up, make_plan
from provision.watch.baseline import of_site_file
from provision.watch.named import refuse_prompts
from provision.watch.repository import Repository
from provision.watch.rounds import Agreed, Standing, Watcher, of_error
from provision.watch.store import Store
from provision.watch.unit import unit
from provision.worker import take_worker

FOLDER = "watch"
"""The watcher's own, in the site's state folder."""
TOLD = "told"
"""What the journal was told last."""
PAUSE_SECONDS = 0.5
"""How long it takes at most to heed a signal while nothing is done."""


class Telling:
    """Tells the reporter and the journal what they were not told yet.

    A journal is begun for news alone: a look a minute would push real runs out of it.

    Parameters
    ----------
    app
        Of the site file that the watcher was started with.
    store
        Where it is kept what the journal was told last.
    reporter
        Shows it.
    words
        Makes of a text what people are shown.
    """

    def __init__(
        self, app: Application, store: Store, reporter: Reporter, words: Callable[[str], str] = str
    ) -> None:
        self.app = app
        self.store = store
        self.reporter = reporter
        self.words = words
        self.last = ""

    def standing(self, standing: Standing, *, shown: bool = True) -> None:
        """Tell how a round ended.

        Parameters
        ----------
        shown
            Whether the reporter is told too; the command line shows errors itself.
        """
        journalled = (self.store.read(TOLD) or {}).get("key")
        if standing.fresh or standing.key != journalled:
            with recorded(self.app, Unshown(), "watch") as recording:
                recording.emit(Event("notice", text=standing.text, data=standing.data))
                recording.outcome = standing.word
            self.store.write(TOLD, {"key": standing.key})
        if shown and (standing.fresh or standing.key != self.last):
            text = self.words(standing.text)
            self.reporter.take(Event("notice", text=text, data=standing.data))
        self.last = standing.key

    def announce(self, text: str, data: Mapping[str, Any]) -> None:
        """Tell what is about to be done."""
        with recorded(self.app, Unshown(), "watch") as recording:
            recording.emit(Event("notice", text=text, data=data))
            recording.outcome = "applying"
        self.reporter.take(Event("notice", text=text, data=data))


def watch_site(
    app: Application,
    site_file: Path,
    reporter: Reporter,
    interrupt: Interrupt,
    *,
    once: bool,
    words: Callable[[str], str] = str,
    pause: Callable[[float], None] = time.sleep,
) -> Standing:
    """Follow the repository until interrupted, or look ``once``; how the last round ended.

    Parameters
    ----------
    site_file
        Where the site file lies that ``app`` was made of.
    words
        Makes of a text what people are shown.
    pause
        Lets seconds pass.

    Raises
    ------
    LockedError
        Another watcher of this site runs on this controller.
    OperatorError
        The site file cannot be watched; with ``once``, all that ended the round.
    """
    started = of_site_file(app.site, str(site_file))
    refuse_prompts(app.site, str(site_file))
    store = Store(app.state / FOLDER)
    store.make()
    telling = Telling(app, store, reporter, words)

    def plan(site: Site) -> Plan:
        with _working_on(site) as application:
            return make_plan(application)[0]

    def apply(site: Site, agreed: Agreed, prove: bool) -> Outcome:
        with _working_on(site) as application:
            return bring_up(application, reporter, interrupt, agreed=agreed, prove=prove)

    watcher = Watcher(
        started,
        store,
        Repository(store.folder),
        model=site_model(settings_models(discover())),
        judge=judged,
        optional=optional_keys(),
        plan=plan,
        apply=apply,
        announce=telling.announce,
        stopping=interrupt.after_step,
    )
    with local_lock(
        store.folder,
        str(holder()),
        what="another watcher follows this site from this controller",
        fix="leave it to that one, or stop it first",
    ):
        return look(watcher, telling) if once else follow(watcher, telling, interrupt, pause)


def look(watcher: Watcher, telling: Telling) -> Standing:
    """Look once; raises as :meth:`provision.watch.rounds.Watcher.once` does, and journals that."""
    try:
        standing = watcher.once()
    except OperatorError as error:
        telling.standing(of_error(error), shown=False)
        raise
    telling.standing(standing)
    return standing


def follow(
    watcher: Watcher, telling: Telling, interrupt: Interrupt, pause: Callable[[float], None]
) -> Standing:
    """Look again and again until interrupted; an error is told, and looked at again later."""
    while True:
        interval = watcher.started.policy.interval_seconds
        try:
            interval = watcher.in_force().policy.interval_seconds
            standing = watcher.once()
        except OperatorError as error:
            standing = of_error(error)
        telling.standing(standing)
        for _ in range(round(interval / PAUSE_SECONDS)):
            if interrupt.after_step():
                break
            pause(PAUSE_SECONDS)
        if interrupt.after_step():
            return standing


@contextmanager
def _working_on(site: Site) -> Iterator[Application]:
    """The application for a site, ready to read its machines; it asks nobody anything."""
    worker = take_worker()
    try:
        application = Application(site, worker=worker)
    except BaseException:
        worker.discard()
        raise
    with application.closing():
        application.machines.connect()
        yield application


def optional_keys() -> frozenset[str]:
    """Keys of components that a site has only where their key stands."""
    return frozenset(phase.settings.component for phase in discover() if phase.settings.optional)


def unit_of(app: Application, site_file: Path) -> str:
    """The systemd unit for this site, this program and this user.

    Raises
    ------
    OperatorError
        The site file cannot be watched.
    """
    of_site_file(app.site, str(site_file))
    refuse_prompts(app.site, str(site_file))
    command = [sys.executable, "-m", "provision", "watch", "--site", str(site_file.absolute())]
    # Ansible keeps its own files in the home, wherever the rest lies.
    folders = [app.state.parent, cache_path(), Path.home() / ".ansible"]
    absolute = [folder.absolute() for folder in folders]
    return unit(app.site.name, command, getpass.getuser(), absolute, os.environ)
