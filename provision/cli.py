"""The command line: parse, call, show, and turn every error into its exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated

import typer

from provision.cli_bundle import bundle_app
from provision.cli_common import (
    JsonOption,
    OnlyOption,
    PlainOption,
    SiteOption,
    Stoppable,
    YesOption,
    application_of,
    reporter_kind,
    runnable,
    show,
    working_on,
)
from provision.cli_handoff import handoff_app
from provision.cli_platform import platform_app
from provision.cli_postgresql import postgresql_app
from provision.cli_secrets import secrets_app
from provision.cli_vault import vault_app
from provision.cli_watch import watch_app
from provision.errors import DiskFullError, ExitCode, OperatorError, UsageError
from provision.paths import cache_path, state_path
from provision.privatefiles import NO_ROOM

app = typer.Typer(
    name="provision",
    help="Bare machines in, a highly available Kubernetes with its services out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
new_app = typer.Typer(help="Scaffold new parts of the project.", no_args_is_help=True)
app.add_typer(bundle_app, name="bundle")
app.add_typer(secrets_app, name="secrets")
app.add_typer(vault_app, name="vault")
app.add_typer(platform_app, name="platform")
app.add_typer(handoff_app, name="handoff")
app.add_typer(postgresql_app, name="postgresql")
app.add_typer(new_app, name="new")
app.add_typer(watch_app)


@app.command(epilog="Example: provision init --name stella --host n1=192.0.2.11")
def init(
    name: Annotated[str, typer.Option(help="Name of the site.")] = "site",
    host: Annotated[
        list[str] | None, typer.Option(help="A machine, NAME=ADDRESS; repeatable.")
    ] = None,
    endpoint: Annotated[str | None, typer.Option(help="Virtual address of the API.")] = None,
    kubernetes: Annotated[str | None, typer.Option(help="Kubernetes version.")] = None,
    output: Annotated[Path, typer.Option(help="File to write; never overwritten.")] = Path(
        "site.yaml"
    ),
    platform: Annotated[
        bool, typer.Option("--platform", help="Also what a Git repository of applications needs.")
    ] = False,
    repository: Annotated[
        str | None, typer.Option(help="Where the cluster will read that repository from.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a first site file, with --platform the whole repository of a site."""
    from provision.checkout.judge import PLACEHOLDER
    from provision.verbs.init import write_site

    if repository and not platform:
        raise UsageError(
            "--repository is for the site's applications", fix="provision init --platform"
        )
    address = (repository or PLACEHOLDER) if platform else None
    path = write_site(output, name, host or [], endpoint, kubernetes, address)
    beside = ", and platform/ and applications/ beside it" if platform else ""
    show(
        {"path": str(path)},
        as_json,
        lambda: [f"wrote {path}{beside}; edit it, then: provision check --site {path}"],
    )


@app.command(epilog="Example: provision schema > site.schema.json")
def schema(
    as_json: JsonOption = True,  # noqa: ARG001 - there is no other form; scripts give it everywhere
) -> None:
    """Print the JSON schema of site files, for editors and reviewers."""
    from provision.descriptions import DescribedSchema
    from provision.plan import discover, settings_models
    from provision.site import site_model

    model = site_model(settings_models(discover()))
    described = model.model_json_schema(schema_generator=DescribedSchema)
    typer.echo(json.dumps(described, indent=2))


@app.command(epilog="Example: provision check --site inventory/lab")
def check(site: SiteOption = None, as_json: JsonOption = False) -> None:
    """Judge whether the machines are fit; reads all of them at once, changes nothing."""
    from provision.verbs.check import check_site, render

    with working_on(site) as application:
        findings = check_site(application)
    data = [vars(item) for item in findings]
    show(data, as_json, lambda: (runnable(line, site) for line in render(findings)))
    if any(item.severity == "error" for item in findings):
        raise typer.Exit(ExitCode.FINDINGS)


@app.command(epilog="Example: provision plan --site inventory/lab; echo $?")
def plan(site: SiteOption = None, only: OnlyOption = None, as_json: JsonOption = False) -> None:
    """Show what up would do on which machine and why; changes nothing.

    Exit code 0: nothing to do; 2: something would change.
    """
    from provision.plan import render
    from provision.verbs.up import make_plan

    with working_on(site) as application:
        made, _ = make_plan(application, only or [])
    show(made.as_dict(), as_json, lambda: (runnable(line, site) for line in render(made)))
    if made.findings:
        raise typer.Exit(ExitCode.FINDINGS)
    if made.unreachable:
        raise typer.Exit(ExitCode.CONNECTION)
    if made.changes:
        raise typer.Exit(ExitCode.CHANGES)


@app.command(epilog="Example: provision up --site inventory/lab")
def up(
    site: SiteOption = None,
    only: OnlyOption = None,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Prove at the end what users need.")
    ] = True,
    prune: Annotated[
        bool, typer.Option("--prune", help="Take off what the site file does not name any more.")
    ] = False,
    with_data: Annotated[
        list[str] | None,
        typer.Option(
            "--with-data",
            metavar="COMPONENT",
            help="Take this one off with the data it holds; repeatable.",
        ),
    ] = None,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make the machines what the site file says."""
    from provision.engine import Interrupt
    from provision.report import reporter
    from provision.verbs.report import end_report
    from provision.verbs.up import bring_up

    if with_data and not prune:
        raise UsageError("--with-data is for what --prune takes off", fix="provision up --prune")
    if only and prune:
        raise UsageError("--prune takes off what is no phase any more, so --only cannot name it")
    interrupt = Interrupt()
    with working_on(site) as application:
        names = [phase.name for phase in application.phases]
        with Stoppable(interrupt), reporter(reporter_kind(as_json, plain), names) as shown:
            outcome = bring_up(
                application,
                shown,
                interrupt,
                only or [],
                verify=verify,
                prune=prune,
                with_data=with_data or [],
            )
        text, code = end_report(application, outcome)
    if not as_json:
        typer.echo(runnable(text, site))
    if outcome.error is not None:
        raise outcome.error
    raise typer.Exit(code)


@app.command(epilog="Example: provision verify --site inventory/lab")
def verify(
    site: SiteOption = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="PROOF", help="Only this proof; repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Try out what users of the cluster will need, with objects that are removed again."""
    from provision.verbs.verify import render, verify_site

    found = verify_site(application_of(site), only or [])
    show(found.as_dict(), as_json, lambda: render(found))
    raise typer.Exit(ExitCode.OK if found.proven else ExitCode.UNHEALTHY)


@app.command(epilog="Example: provision status --site inventory/lab")
def status(site: SiteOption = None, as_json: JsonOption = False) -> None:
    """Show machines, etcd, nodes, pods, certificates, depots and versions."""
    from provision.verbs.status import render, site_status

    with working_on(site) as application:
        found = site_status(application)
    lines = (runnable(line, site) for line in render(found))
    show(found.as_dict(), as_json, lambda: lines)
    raise typer.Exit(ExitCode.OK if found.healthy else ExitCode.UNHEALTHY)


@app.command(epilog="Example: provision reset --site inventory/lab --yes")
def reset(
    site: SiteOption = None,
    yes: YesOption = False,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take the cluster and everything of it off the machines."""
    from provision.engine import Interrupt
    from provision.report import reporter
    from provision.verbs.reset import take_down

    interrupt = Interrupt()
    with working_on(site) as application:
        if not yes:
            _confirm_reset(application.site.name)
        names = [phase.name for phase in reversed(application.phases)]
        with Stoppable(interrupt), reporter(reporter_kind(as_json, plain), names) as shown:
            take_down(application, shown, interrupt)


def _confirm_reset(site: str) -> None:
    try:
        typed = typer.prompt(f"Everything on {site} is lost. Type the site's name", err=True)
    except typer.Abort as error:
        raise UsageError(
            "the site's name was not typed; nothing was touched",
            fix="run it at a terminal, or without questions: provision reset --yes",
        ) from error
    if typed != site:
        raise UsageError(
            "that is not the site's name; nothing was touched",
            found=typed,
            wanted=site,
            fix="provision reset",
        )


@app.command(epilog="Example: provision inventory --site inventory/lab --list")
def inventory(
    site: SiteOption = None,
    host: Annotated[str | None, typer.Option(help="Variables of one machine.")] = None,
    list_all: Annotated[bool, typer.Option("--list", help="All machines (the default).")] = True,  # noqa: ARG001 - Ansible calls inventories with --list
    as_json: JsonOption = True,  # noqa: ARG001 - there is no other form; scripts give it everywhere
) -> None:
    """Print Ansible's dynamic inventory, so that plain ansible-playbook works."""
    from provision.inventory import groups

    application = application_of(site)
    context = application.context()
    hosts = application.inventory(context, application.site.hosts)
    members = {
        group: {"hosts": names} for group, names in groups(context, application.phases).items()
    }
    everything = {"all": {"hosts": list(hosts)}, **members, "_meta": {"hostvars": hosts}}
    data = hosts.get(host, {}) if host else everything
    typer.echo(json.dumps(data, indent=2, default=str))


@app.command(epilog="Example: provision runs show 20261123T")
def runs(
    action: Annotated[str, typer.Argument(help="Nothing, or show.")] = "list",
    run: Annotated[str, typer.Argument(help="Beginning of a run's id; the newest without.")] = "",
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """List past runs, or show one."""
    from provision.verbs.runs import list_runs, show_run

    application = application_of(site)
    if action not in ("list", "show"):
        raise UsageError(f"runs has no action {action}", wanted="list or show")
    data, lines = list_runs(application) if action == "list" else show_run(application, run)
    show(data, as_json, lambda: lines)


@new_app.command("component", epilog="Example: provision new component metrics_server")
def new_component(
    name: Annotated[str, typer.Argument(help="Name in snake_case.")],
    after: Annotated[str, typer.Option(help="Phase that it comes after.")] = "kubernetes",
    as_json: JsonOption = False,
) -> None:
    """Scaffold a component: phase, role, playbook, scenario, docs page, fragment."""
    from provision.verbs.new import scaffold_component

    written = [str(path) for path in scaffold_component(name, after)]
    show(
        {"written": written, "next": "scripts/generate"},
        as_json,
        lambda: [
            *(f"wrote {path}" for path in written),
            "next, what is made from the others: scripts/generate",
        ],
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the documented code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(args=arguments, prog_name="provision", standalone_mode=False)
    except OperatorError as error:
        sys.exit(_show(error, arguments))
    except typer.Abort:
        sys.exit(ExitCode.INTERRUPTED)
    except typer.TyperException as error:
        if error.format_message().startswith("Usage:"):
            # A group without a verb: its help is the whole answer.
            typer.echo(error.format_message(), err=True)
            sys.exit(ExitCode.USAGE)
        wrong = UsageError(error.format_message(), fix="provision --help")
        sys.exit(_show(wrong, arguments))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone (``| head``): there is nobody left to tell.
        sys.stderr.close()
        sys.exit(ExitCode.OK)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        sys.exit(_show(_no_room(error), arguments))
    sys.exit(code if isinstance(code, int) else ExitCode.OK)


def _no_room(error: OSError) -> DiskFullError:
    """The operator's error for a write that failed where nobody expected one."""
    folders = dict.fromkeys(map(str, (state_path(""), cache_path(), gettempdir())))
    return DiskFullError(
        "a disk of this controller takes no more",
        where=str(error.filename or ""),
        found=error.strerror or str(error),
        fix=f"free some space, then run this again: df -h {' '.join(folders)}",
    )


def _show(error: OperatorError, arguments: Sequence[str]) -> int:
    """Print an error to standard error, as JSON where that was asked for; its exit code."""
    error.fix = runnable(error.fix, _site_of(arguments))
    if "--json" in arguments:
        details = {"what": error.what, "where": error.where, **error.details()}
        typer.echo(json.dumps({"error": details, "exit_code": int(error.exit_code)}), err=True)
    else:
        typer.echo(f"error: {error}", err=True)
    return int(error.exit_code)


def _site_of(arguments: Sequence[str]) -> str | None:
    """What was given as ``--site``; the command may have failed before it was parsed."""
    for here, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--site":
            return value if equals else next(iter(arguments[here + 1 :]), None)
    return None
