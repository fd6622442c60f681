"""``provision platform``: the site's applications: how they stand, and synchronising them."""

from __future__ import annotations

from typing import Annotated

import typer

from provision.cli_common import JsonOption, SiteOption, application_of, show
from provision.errors import ExitCode

platform_app = typer.Typer(
    help="Show, compare and synchronise the applications that Argo CD keeps.", no_args_is_help=True
)
NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[APPLICATION]...", help="All without any.")
]


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

    found = wait_for_platform(application_of(site), _waiting)
    show(found.as_dict(), as_json, lambda: render(found))


@platform_app.command("sync", epilog="Example: provision platform sync web")
def sync(
    names: NamesArgument = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Delete what the repository has no more, whatever the application says of that.",
        ),
    ] = False,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Apply what the repository says now, and wait until that has ended."""
    from provision.verbs.platformsync import render, sync_platform

    ended = sync_platform(application_of(site), names or (), prune=prune, report=_waiting)
    show(ended.as_dict(), as_json, lambda: render(ended))
    raise typer.Exit(ExitCode.OK if ended.succeeded else ExitCode.FAILED)


@platform_app.command("diff", epilog="Example: provision platform diff web")
def diff(names: NamesArgument = None, site: SiteOption = None, as_json: JsonOption = False) -> None:
    """Show what the repository says now and the cluster does not have; changes nothing.

    Ends with 2 where something differs, as ``plan`` does.
    """
    from provision.verbs.platformdiff import compare_platform, render

    compared = compare_platform(application_of(site), names or ())
    data = {"applications": [one.as_dict() for one in compared]}
    show(data, as_json, lambda: render(compared))
    if any(one.failed for one in compared):
        raise typer.Exit(ExitCode.UNHEALTHY)
    same = all(one.standing.sync == "Synced" for one in compared)
    raise typer.Exit(ExitCode.OK if same else ExitCode.CHANGES)


def _waiting(seen: str) -> None:
    typer.echo(f"waiting: {seen}", err=True)
