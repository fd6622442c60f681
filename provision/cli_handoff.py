"""``provision handoff``: what whoever installs the platform on top is given."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from provision.cli_common import JsonOption, SiteOption, application_of, runnable, show
from provision.errors import ExitCode

BY_UV = "uv run phalanx"

handoff_app = typer.Typer(
    help="Hand the site over to whoever installs a platform on it.", no_args_is_help=True
)


@handoff_app.callback()
def main() -> None:
    """Hand the site over to whoever installs a platform on it."""


@handoff_app.command("phalanx", epilog="Example: provision handoff phalanx --output ~/phalanx")
def phalanx(
    site: SiteOption = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder to write or renew; without it, one beside the site's secrets."),
    ] = None,
    new_credentials: Annotated[
        bool,
        typer.Option("--new-credentials", help="Make Vault's anew, and revoke those of before."),
    ] = False,
    checkout: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Checkout of Phalanx: judge it too, and run its installer if all holds.",
        ),
    ] = None,
    command: Annotated[
        str, typer.Option(help="How Phalanx's command line is run in the checkout.")
    ] = BY_UV,
    as_json: JsonOption = False,
) -> None:
    """Write what Phalanx's installer needs into a folder, and try what it relies on."""
    from provision.verbs.handoff import Installer, hand_off, render

    found = hand_off(
        application_of(site),
        output,
        new_credentials=new_credentials,
        install=Installer(checkout.absolute(), command) if checkout else None,
    )
    again = "provision handoff phalanx"
    again += f" --output {quote(str(output))}" if output else ""
    again += f" --checkout {quote(str(checkout))}" if checkout else ""
    again += f" --command {quote(command)}" if command != BY_UV else ""
    show(found.as_dict(), as_json, lambda: (runnable(line, site) for line in render(found, again)))
    raise typer.Exit(ExitCode.OK if found.good else ExitCode.UNHEALTHY)
