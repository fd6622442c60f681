"""``provision postgresql``: status, backups and their restoration, promotion of a replica."""

from __future__ import annotations

from typing import Annotated

import typer

from provision.cli_common import JsonOption, SiteOption, YesOption, show, working_on
from provision.errors import ExitCode, UsageError

postgresql_app = typer.Typer(
    help="Show, back up, restore and promote the site's PostgreSQL.", no_args_is_help=True
)


@postgresql_app.command("status", epilog="Example: provision postgresql status")
def status(site: SiteOption = None, as_json: JsonOption = False) -> None:
    """Show the servers, the backups, and what was put aside."""
    from provision.verbs.postgresql import databases_status, render

    with working_on(site) as application:
        found = databases_status(application)
    show(found.as_dict(), as_json, lambda: render(found))
    raise typer.Exit(ExitCode.OK if found.healthy else ExitCode.UNHEALTHY)


@postgresql_app.command("backup", epilog="Example: provision postgresql backup")
def backup(site: SiteOption = None, as_json: JsonOption = False) -> None:
    """Make a base backup now, besides those that the timer makes."""
    from provision.verbs.postgresql import make_backup

    with working_on(site) as application:
        name = make_backup(application)
    show({"backup": name}, as_json, lambda: [f"made the backup {name}"])


@postgresql_app.command(
    "restore", epilog="Example: provision postgresql restore --to 2026-05-04T13:30:00 --overwrite"
)
def restore(
    name: Annotated[
        str,
        typer.Option("--backup", help="Name of the backup; the newest that serves unless said."),
    ] = "",
    until: Annotated[
        str,
        typer.Option("--to", metavar="TIME", help="Until when, in UTC or with an offset; the end."),
    ] = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Put databases that are there aside.")
    ] = False,
    site: SiteOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put a backup back, as the databases stood at a time; what is there is kept beside."""
    from provision.verbs.postgresql import restore_backup

    with working_on(site) as application:
        known = application.site.name
        asked = f"The databases go back to {until or 'the end of the log'}. Type the site's name"
        if overwrite and not yes and typer.prompt(asked) != known:
            raise UsageError("that is not the site's name; nothing was touched")
        restore_backup(application, name, until, overwrite=overwrite)
    show({"restored": until or "end"}, as_json, lambda: ["restored; next: provision up"])


@postgresql_app.command("promote", epilog="Example: provision postgresql promote")
def promote(site: SiteOption = None, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Make the replica that the site file now calls the primary one."""
    from provision.verbs.postgresql import promote_replica

    with working_on(site) as application:
        known = application.site.name
        asked = "What only the old primary has is lost where it is dead. Type the site's name"
        if not yes and typer.prompt(asked) != known:
            raise UsageError("that is not the site's name; nothing was touched")
        done = promote_replica(application)
    show({"done": done}, as_json, lambda: [*done, "next: provision up"])
