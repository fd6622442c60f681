"""``provision watch`` and ``provision approve``: the site file from its own repository."""

from __future__ import annotations

from typing import Annotated

import typer

from provision.cli_common import (
    JsonOption,
    SiteOption,
    Stoppable,
    YesOption,
    application_of,
    runnable,
    show,
)
from provision.errors import ExitCode, UsageError

watch_app = typer.Typer()


@watch_app.command(epilog="Example: provision watch --site inventory/lab --once")
def watch(
    site: SiteOption = None,
    once: Annotated[bool, typer.Option("--once", help="Look once, then end.")] = False,
    unit: Annotated[
        bool, typer.Option("--unit", help="Print a systemd service that does this, and end.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Follow the site's repository: apply what may be unattended, wait for approvals of the rest.

    Exit code with --once 0: the site is as the repository says; 2: something waits.
    """
    from provision.app import find_site
    from provision.engine import Interrupt
    from provision.report import reporter
    from provision.verbs.watch import unit_of, watch_site

    if once and unit:
        raise UsageError("--once and --unit exclude each other", fix="provision watch --once")
    path = find_site(site)
    application = application_of(site)
    if unit:
        text = unit_of(application, path)
        show({"unit": text}, as_json, lambda: [text.rstrip("\n")])
        return
    interrupt = Interrupt()
    with Stoppable(interrupt), reporter("json" if as_json else "plain", []) as shown:
        standing = watch_site(
            application, path, shown, interrupt, once=once, words=lambda text: runnable(text, site)
        )
    raise typer.Exit(standing.code if once else ExitCode.INTERRUPTED)


@watch_app.command(epilog="Example: provision approve 3f2a9c61d0be --site inventory/lab")
def approve(
    name: Annotated[str, typer.Argument(metavar="ID", help="As provision watch tells it.")],
    site: SiteOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Allow the watcher to apply the plan that waits, as long as it is the same."""
    from provision.verbs.approve import approve as allow
    from provision.verbs.approve import waiting
    from provision.watch.pending import render

    application = application_of(site)
    found = waiting(application, name)
    if not yes:
        for line in render(found):
            typer.echo(line, err=True)
        _confirm(application.site.name)
    given = allow(application, name)
    then = runnable("provision watch --once", site)
    text = f"approved {given.id}; the watcher applies it at its next look, or now: {then}"
    show(vars(given), as_json, lambda: [text])


def _confirm(site: str) -> None:
    try:
        agreed = typer.confirm(f"Let the watcher of {site} apply this?", default=False, err=True)
    except typer.Abort as error:
        raise UsageError(
            "nobody said yes; nothing was approved",
            fix="run it at a terminal, or without questions: provision approve ID --yes",
        ) from error
    if not agreed:
        raise UsageError("it was not confirmed; nothing was approved")
