"""What the parts of the command line share: options, how results are shown, the application."""

from __future__ import annotations

import json
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provision.errors import SecretsError

if TYPE_CHECKING:
    from provision.adapters.hostkeys import UnknownHostKey
    from provision.app import Application
    from provision.worker import Worker

SiteOption = Annotated[
    str | None,
    typer.Option("--site", metavar="SITE", help="Site file, its folder, or a name in inventory/."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
PlainOption = Annotated[bool, typer.Option("--plain", help="Plain lines, on a terminal too.")]
OnlyOption = Annotated[
    list[str] | None, typer.Option("--only", metavar="PHASE", help="Only this phase; repeatable.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def show(data: Any, as_json: bool, lines: Callable[[], Iterable[str]]) -> None:
    """Print ``data`` as JSON, or ``lines`` as text."""
    if as_json:
        typer.echo(json.dumps(data, indent=2, default=str))
    else:
        for line in lines():
            typer.echo(line)


@contextmanager
def working_on(site: str | None) -> Iterator[Application]:
    """The application for the site that ``--site`` means, ready to read its machines."""
    from provision.worker import take_worker

    worker = take_worker()
    try:
        application = application_of(site, worker)
    except BaseException:
        worker.discard()
        raise
    with application.closing():
        application.machines.connect()
        yield application


def application_of(site: str | None, worker: Worker | None = None) -> Application:
    """The application for the site that ``--site`` means."""
    from provision.app import Application, find_site, read_site

    ask = confirm_host_key if sys.stdin.isatty() else None
    return Application(read_site(find_site(site)).site, confirm_host_key=ask, worker=worker)


def ask_secret(prompt: str, *, twice: bool) -> str:
    """Ask for a secret at the terminal; it comes from nowhere else."""
    if not sys.stdin.isatty():
        raise SecretsError(
            "a secret has to be asked for, and there is no terminal",
            wanted="standard input on a terminal, so that nobody reads along",
            fix="run this at a terminal",
        )
    return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True))


def confirm_host_key(key: UnknownHostKey) -> bool:
    """Ask whether a machine's host key, seen for the first time, is the right one."""
    return typer.confirm(str(key), default=False, err=True)


SITE_COMMAND = re.compile(
    r"\bprovision (check|plan|up|status|verify|reset|inventory|runs( show)?|watch|approve"
    r"|(secrets|vault|platform|handoff) \w+)(?! --site)\b"
)


def runnable(text: str, site: str | None) -> str:
    """``text`` with the ``--site`` that was given in every command it tells to run."""
    if site is None:
        return text
    return SITE_COMMAND.sub(lambda found: f"{found[0]} --site {shlex.quote(site)}", text)


def reporter_kind(as_json: bool, plain: bool) -> str:
    """Name of the reporter that the options ask for."""
    return "json" if as_json else "plain" if plain else "auto"


class Stoppable:
    """Ctrl-C stops after the current step, a second one at once; so does SIGTERM."""

    def __init__(self, interrupt: Any) -> None:
        self.interrupt = interrupt
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self.before[number] = signal.signal(number, self._press)

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _press(self, number: int, frame: object) -> None:
        self.interrupt.press()
        at_once = self.interrupt.at_once()
        sys.stderr.write(
            "\nstopping at once\n"
            if at_once
            else "\nstopping after the current step; press Ctrl-C again to stop at once\n"
        )
        if at_once and not self.interrupt.heeded:
            # Machines are being read or proofs made, and nobody looks up from that.
            raise KeyboardInterrupt
