"""What the worker reports of a machine, in the operator's words."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from provision.adapters.hostkeys import UnknownHostKey, fingerprint
from provision.errors import ConfigError, OperatorError, UnreachableError
from provision.site import Connection, Site


class Kind(StrEnum):
    """What can go wrong with one machine."""

    CONNECT = "connect"
    LOGIN = "login"
    KEY_FILE = "key file"
    KEY_UNKNOWN = "key unknown"
    KEY_CHANGED = "key changed"
    COMMAND = "command"
    SILENT = "silent"
    WORKER = "worker"


def explain(site: Site, host: str, reply: Mapping[str, Any]) -> OperatorError:
    """The error for the machine ``host``, from what the worker replied."""
    where = f"{host} ({site.hosts[host].address})"
    connection = site.connection_of(host)
    match Kind(reply["kind"]):
        case Kind.CONNECT:
            return _connect(where, connection, reply["text"])
        case Kind.LOGIN:
            return _login(where, host, connection, reply)
        case Kind.KEY_FILE:
            return ConfigError(
                "the private key for SSH cannot be used",
                where=where,
                found=reply["text"],
                fix="correct connection.key in the site file",
            )
        case Kind.KEY_UNKNOWN:
            return _unknown_key(where, UnknownHostKey.from_reply(host, reply))
        case Kind.KEY_CHANGED:
            return _changed_key(where, reply)
        case Kind.COMMAND:
            return _command(where, host, connection, reply["text"])
        case Kind.SILENT:
            return UnreachableError(
                "the machine took too long to answer",
                where=where,
                found=reply["text"],
                wanted="an answer to what it was asked",
                fix=f"see what keeps {host} busy: uptime; dmesg | tail; then: provision check",
            )
        case Kind.WORKER:
            return UnreachableError(
                "the process that reads machines failed",
                where=where,
                found=reply["text"],
                why="this is a defect of provision; what it said stands above",
                fix="run the command again, and report the defect",
            )


def _connect(where: str, connection: Connection, text: str) -> UnreachableError:
    through = f" through {connection.bastion}" if connection.bastion else ""
    port = connection.port or 22
    if "refused" in text:
        fix = f"start the SSH server there (systemctl start ssh), or correct port {port}"
    elif "timed out" in text or "no answer" in text or "no greeting" in text:
        fix = "see that the machine runs and that the address and the network's firewall are right"
    elif "unreachable" in text or "no route" in text:
        fix = "see that the machine runs and that this controller has a route to it"
    elif "jump host" in text:
        fix = "see that the machine runs and that the jump host may reach it"
    else:
        fix = "try it by hand: ssh -v to the machine; then: provision check"
    return UnreachableError(
        f"the machine cannot be reached over SSH{through}",
        where=where,
        found=text,
        wanted=f"an SSH server on port {port}",
        fix=fix,
    )


def _login(
    where: str, host: str, connection: Connection, reply: Mapping[str, Any]
) -> UnreachableError:
    if reply["jump"]:
        return UnreachableError(
            "the jump host does not let us in",
            where=where,
            found=f"ProxyJump {connection.bastion or 'of ~/.ssh/config'}",
            wanted="a user of the jump host, with a key of the agent, of the site file"
            " or of ~/.ssh/config",
            fix=f"try it by hand: ssh {connection.bastion or 'to the jump host'}",
        )
    tried = ", ".join(reply["tried"]) or "no key at all: the agent is empty and none is on disk"
    key = reply["tried"][0] if reply["tried"] else "~/.ssh/id_ed25519"
    if reply["locked"]:
        fix = f"the key needs its passphrase, so give it to the agent: ssh-add {reply['locked'][0]}"
    else:
        fix = (
            f"ssh-copy-id -i {key} {reply['user']}@{reply['name']};"
            " or name another user or key under connection in the site file"
        )
    return UnreachableError(
        f"the machine does not let {reply['user']} in",
        where=where,
        found=f"keys tried: {tried}",
        wanted=f"a public key of ours in ~{reply['user']}/.ssh/authorized_keys on {host}",
        fix=fix,
    )


def _unknown_key(where: str, key: UnknownHostKey) -> UnreachableError:
    return UnreachableError(
        f"the host key of {key.name} is not known",
        where=where,
        found=f"{key.type} {key.fingerprint}",
        wanted=f"an entry in {key.file}",
        why="whoever answers at that address would be believed to be the machine",
        fix=f"compare the fingerprint at the machine's console, then answer yes at a terminal:"
        f" provision check; or add the line: {key.name} {key.type} {key.key}",
    )


def _changed_key(where: str, reply: Mapping[str, Any]) -> UnreachableError:
    return UnreachableError(
        f"the host key of {reply['name']} is not the one that was pinned",
        where=where,
        found=f"{reply['type']} {fingerprint(reply['key'])}",
        wanted=f"the key in {reply['file']}",
        why="another machine answers at that address, or this one was installed anew",
        fix=f"if it was installed anew: ssh-keygen -R '{reply['name']}' -f {reply['file']};"
        " then: provision check",
    )


_SUDO_WANTS_PASSWORD = ("a password is required", "interactive authentication is required")
_WRONG_PASSWORD = ("incorrect password", "sorry, try again", "no password was provided")
_NOT_ALLOWED = ("not in the sudoers file", "is not allowed to", "may not run sudo")


def _command(where: str, host: str, connection: Connection, text: str) -> UnreachableError:
    lowered = text.lower()
    user = connection.user or "the login user"
    if any(mark in lowered for mark in _WRONG_PASSWORD):
        return UnreachableError(
            "sudo does not take the password",
            where=where,
            found=_sudo_line(text),
            wanted=f"the password of {user}",
            fix="correct the secret that connection.sudo_password names; it was tried once",
        )
    if any(mark in lowered for mark in _SUDO_WANTS_PASSWORD):
        return UnreachableError(
            "sudo asks for a password and the site names none",
            where=where,
            found=_sudo_line(text),
            wanted="connection.sudo_password in the site file, or sudo without a password",
            fix="add to the site file: connection: {sudo_password: {prompt: true}}",
        )
    if any(mark in lowered for mark in _NOT_ALLOWED):
        return UnreachableError(
            f"sudo is not allowed to {user}",
            where=where,
            found=_sudo_line(text),
            wanted="a user that may become root",
            fix=f"on {host}, as root: adduser {connection.user or 'USER'} sudo",
        )
    if _missing(lowered, "sudo"):
        return UnreachableError(
            "sudo is not installed",
            where=where,
            found=text.strip(),
            wanted="sudo, or root as the login user",
            fix=f"on {host}, as root: apt-get install sudo",
        )
    if _missing(lowered, "python3"):
        return UnreachableError(
            "there is no python3 on the machine",
            where=where,
            found=text.strip(),
            wanted="Python 3.9 or newer",
            fix=f"on {host}, as root: apt-get install python3",
        )
    return UnreachableError(
        "the machine could not be read",
        where=where,
        found=" / ".join(text.strip().splitlines()[-3:]) or "the command ended without a word",
        fix=f"see what {host} logged: journalctl -e; then: provision check",
    )


def _missing(lowered: str, program: str) -> bool:
    return any(
        f"{program}: {said}" in lowered
        for said in ("not found", "command not found", "no such file or directory")
    )


def _sudo_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "sudo" in line.lower()), "".join(lines[-1:]))
