"""``provision platform``: how the site's applications stand, and waiting for them."""

from __future__ import annotations

import typer

from provision.cli_common import JsonOption, SiteOption, application_of, show
from provision.errors import ExitCode

platform_app = typer.Typer(
    help="Show the applications that Argo CD keeps, and wait for them.", no_args_is_help=True
)


@platform_app.command("status", epilog="Example: provision platform status")
def status(site: SiteOption = None, as_json: JsonOption = False) -> None:
    """Show every application: synced or not, healthy or not, its commit, and what is wrong."""
    from provision.verbs.platform import platform_status, render

    found = platform_status(application_of(site))
    show(found.as_dict(), as_json, lambda: render(found))
    raise typer.Exit(ExitCode.OK if found.healthy else ExitCode.UNHEALTHY)


@platform_app.command("wait", epilog="Example: provision platform wait")
def wait(site: SiteOption = None, as_json: JsonOption = False) -> None:
    """Wait until every application is Synced and Healthy, as ``up`` does in the end."""
    from provision.verbs.platform import render, wait_for_platform

    found = wait_for_platform(
        application_of(site), lambda seen: typer.echo(f"waiting: {seen}", err=True)
    )
    show(found.as_dict(), as_json, lambda: render(found))
