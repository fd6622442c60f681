"""``provision vault``: status, unsealing, snapshots and their restoration; keys are never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from provision.cli_common import (
    JsonOption,
    SiteOption,
    YesOption,
    application_of,
    ask_secret,
    show,
)
from provision.errors import ExitCode, UsageError

vault_app = typer.Typer(
    help="Show, unseal, snapshot and restore the site's Vault.", no_args_is_help=True
)


@vault_app.command("status", epilog="Example: provision vault status --site inventory/lab")
def status(site: SiteOption = None, as_json: JsonOption = False) -> None:
    """Show every member, and what is kept of the keys."""
    from provision.verbs.vault import render, vault_status

    found = vault_status(application_of(site))
    show(found.as_dict(), as_json, lambda: render(found))
    raise typer.Exit(ExitCode.OK if found.serves else ExitCode.UNHEALTHY)


@vault_app.command("unseal", epilog="Example: provision vault unseal")
def unseal(site: SiteOption = None, as_json: JsonOption = False) -> None:
    """Unseal every sealed member, with the kept shares, or with shares that are asked for."""
    from provision.verbs.vault import unseal_members

    done = unseal_members(application_of(site), lambda text: ask_secret(text, twice=False))
    show(
        {"unsealed": done},
        as_json,
        lambda: [f"unsealed {', '.join(done)}" if done else "nothing was sealed"],
    )


@vault_app.command("shares", epilog="Example: provision vault shares")
def shares(site: SiteOption = None, as_json: JsonOption = False) -> None:
    """Print the shares as they are encrypted to the administrators' PGP keys."""
    from provision.verbs.vault import encrypted_shares

    found = encrypted_shares(application_of(site))
    show({"shares": list(found)}, as_json, lambda: found)


@vault_app.command("snapshot", epilog="Example: provision vault snapshot vault.snap")
def snapshot(
    file: Annotated[Path, typer.Argument(help="New file to write.")],
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a snapshot of everything; only the unsealing keys make it readable."""
    from provision.verbs.vault import take_snapshot

    size = take_snapshot(application_of(site), file)
    show({"file": str(file), "bytes": size}, as_json, lambda: [f"wrote {size} bytes to {file}"])


@vault_app.command("restore", epilog="Example: provision vault restore vault.snap")
def restore(
    file: Annotated[Path, typer.Argument(help="Snapshot.", exists=True, dir_okay=False)],
    site: SiteOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put a snapshot back; what was written since is lost."""
    from provision.verbs.vault import restore_snapshot

    application = application_of(site)
    name = application.site.name
    if not yes and typer.prompt(f"Vault goes back to {file}. Type the site's name") != name:
        raise UsageError("that is not the site's name; nothing was touched")
    into = restore_snapshot(application, file)
    show({"restored": into}, as_json, lambda: [f"restored into {into}"])


@vault_app.command("forget", epilog="Example: provision vault forget")
def forget(site: SiteOption = None, as_json: JsonOption = False) -> None:
    """Put the keys of a Vault that is gone aside, so that the next up makes a new one."""
    from provision.verbs.vault import forget_keys

    name = forget_keys(application_of(site))
    show({"kept": name}, as_json, lambda: [f"the keys are kept as {name}; next: provision up"])
