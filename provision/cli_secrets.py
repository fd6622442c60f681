"""``provision secrets``: list, renew, put, export and import; values are never shown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from provision.cli_common import JsonOption, SiteOption, application_of, ask_secret, show
from provision.locallock import local_lock

secrets_app = typer.Typer(
    help="List, renew, put, export and import the site's secrets.", no_args_is_help=True
)


@secrets_app.command("list", epilog="Example: provision secrets list --site inventory/lab")
def list_secrets(site: SiteOption = None, as_json: JsonOption = False) -> None:
    """List the site's secrets with the days that certificates have left."""
    found = application_of(site).secrets.describe()
    show(
        [secret.as_dict() for secret in found],
        as_json,
        lambda: (
            f"{secret.name:32} {secret.kind:12}"
            f" {'' if secret.days_left is None else f'{secret.days_left} days left':16}"
            f" {'present' if secret.present else 'to be made'}"
            f"{f' ({secret.due})' if secret.due else ''}"
            for secret in found
        ),
    )


@secrets_app.command("export", epilog="Example: provision secrets export lab.age")
def export(
    file: Annotated[Path, typer.Argument(help="New file to write.")],
    recipient: Annotated[
        list[str] | None,
        typer.Option(help="age or SSH public key; repeatable. Default: the site's recipients."),
    ] = None,
    passphrase: Annotated[bool, typer.Option(help="Ask for a passphrase instead.")] = False,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write all secrets, encrypted, to one file: the site's backup."""
    from provision.secretsharing import export_secrets

    application = application_of(site)
    asked = ask_secret("Passphrase", twice=True) if passphrase else None
    recipients = () if passphrase else recipient or application.site.secrets.recipients
    names = export_secrets(application.secrets, file, recipients=recipients, passphrase=asked)
    show(
        {"file": str(file), "secrets": names},
        as_json,
        lambda: [f"wrote {len(names)} secrets to {file}"],
    )


@secrets_app.command("import", epilog="Example: provision secrets import lab.age --identity KEY")
def import_(
    file: Annotated[Path, typer.Argument(help="File that an export wrote.")],
    identity: Annotated[
        list[Path] | None, typer.Option(help="File with a private key; repeatable.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace secrets that differ.")] = False,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring exported secrets to this controller."""
    from provision.secretsharing import import_secrets

    application = application_of(site)
    with local_lock(application.state, "provision secrets import"):
        imported = import_secrets(
            application.secrets,
            file,
            identities=identity or (),
            ask=lambda: ask_secret("Passphrase", twice=False),
            force=force,
        )
    show(
        {"added": imported.added, "replaced": imported.replaced, "kept": imported.kept_copy},
        as_json,
        lambda: [
            f"{len(imported.added)} added, {len(imported.replaced)} replaced",
            *([f"the store as it was: {imported.kept_copy}"] if imported.kept_copy else []),
        ],
    )


@secrets_app.command("renew", epilog="Example: provision secrets renew kubernetes/admin")
def renew(
    name: Annotated[str, typer.Argument(help="Certificate or password, as list names it.")],
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a certificate anew with a new key, or a password; the next up brings it about."""
    made = application_of(site).secrets.renew(name)
    show({"made": made}, as_json, lambda: [f"made {', '.join(made)}; next: provision up"])


@secrets_app.command("put", epilog="Example: provision secrets put sudo < password.txt")
def put(
    name: Annotated[str, typer.Argument(help="Name, as a site file's {store: NAME} says.")],
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a secret of yours: asked for at a terminal, else read from standard input."""
    application = application_of(site)
    asked = sys.stdin.isatty()
    content = ask_secret(name, twice=True).encode() if asked else sys.stdin.buffer.read()
    application.secrets.put(name, content)
    show({"kept": name}, as_json, lambda: [f"kept {name}"])
