"""The watcher as a service: a systemd unit for one site, printed for the administrator to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from provision.errors import ExitCode

PASSED = ("XDG_STATE_HOME", "XDG_CACHE_HOME", "PROVISION_CACHE", "SSH_AUTH_SOCK")
"""Variables that say where things lie; the service gets those that its printing had."""
NEVER_BETTER = (ExitCode.CONFIG, ExitCode.LOCKED, ExitCode.SECRETS, ExitCode.USAGE)
"""What starting again does not put right."""

UNIT = """\
# For /etc/systemd/system/provision-watch-{name}.service. Its folders must be there:
#   install -d -m 0700 {folders}
# then: systemctl daemon-reload && systemctl enable --now provision-watch-{name}

[Unit]
Description=Keeps the site {name} as its repository says
Wants=network-online.target
After=network-online.target

[Service]
User={user}
ExecStart={command}
{environment}Restart=on-failure
RestartSec=30
RestartPreventExitStatus={never}
# SIGTERM lets the step that goes on end; only then is what is left ended too.
KillMode=mixed
TimeoutStopSec=1800
SuccessExitStatus={interrupted}

UMask=0077
CapabilityBoundingSet=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={folders}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""


def unit(
    name: str,
    command: Sequence[str],
    user: str,
    folders: Sequence[Path],
    environment: Mapping[str, str],
) -> str:
    """The unit's text.

    Parameters
    ----------
    name
        Of the site.
    command
        Program and arguments, paths absolute.
    user
        Who owns the site's state.
    folders
        All that it writes to.
    environment
        The caller's; of it, what says where things lie is passed on.
    """
    passed = [f"{key}={environment[key]}" for key in PASSED if environment.get(key)]
    return UNIT.format(
        name=name,
        user=user,
        command=" ".join(map(_command_word, command)),
        environment="".join(f"Environment={_word(item)}\n" for item in passed),
        folders=" ".join(_word(str(folder)) for folder in folders),
        never=" ".join(str(int(code)) for code in NEVER_BETTER),
        interrupted=int(ExitCode.INTERRUPTED),
    )


def _word(text: str) -> str:
    """``text`` as one word, in which systemd puts nothing in place of ``%``."""
    quoted = text.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"' if set(quoted) & set(" \t'\"\\") else quoted


def _command_word(text: str) -> str:
    # Only a command line knows variables.
    return _word(text.replace("$", "$$"))
