"""The folder that is handed over: its texts, and how it is put in place as a whole."""

from __future__ import annotations

import glob
import json
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from provision.errors import UsageError
from provision.phalanx.values import NO_YAML
from provision.phalanx.vaultside import Credentials
from provision.privatefiles import (
    PARTIAL_PREFIX,
    check_folder,
    make_folder,
    read_private,
    refuse_git_tree,
    sync_folder,
    write_private,
    writing,
)
from provision.secretsharing import exchange

OWN = "handoff.json"
"""In a folder of ours: what it was made for, and what of Vault's can be revoked."""
STATIC = "static.yaml"
"""Filled in by people, so never written over."""
README = """\
# {environment}: what Phalanx's installer needs

Made by `provision handoff phalanx` for the site {site}. Everything here is secret.
Programs: {tools}; git; Python 3.13 or newer, which uv brings.

1. In a checkout of Phalanx, at the branch {branch}: write what `values.yaml` here says into the
   files that it names, and who may do what into Gafaelfawr's `config.groupMapping`; push.
2. Fill in `static.yaml` here: each value that says REPLACE ME, and what
   `uv run phalanx secrets static-template {environment}` asks for besides.
3. Then let `provision handoff phalanx --checkout FOLDER` run the installer, or run it yourself:

```
cd FOLDER
. {folder}/environment
VAULT_TOKEN=... uv run phalanx vault audit {environment}   # an administrator's: vault login
uv run phalanx secrets sync --secrets {folder}/static.yaml {environment}
uv run phalanx secrets audit --secrets {folder}/static.yaml {environment}
uv run phalanx environment install --force-noninteractive --git-branch {branch} {environment}
```

`vault create-write-token` and `vault create-read-approle` are done already, by the same calls.
Running them again revokes the token and the secret id here.

Afterwards take `config.updateSchema` out of Gafaelfawr's values, which is for the first time, and
see that:

- every application is Synced and Healthy (`argocd app list`), but for `nublado-users`,
  `nublado-fileservers`, `ocps-uws-job`, and Sasquatch's claims, which stay OutOfSync
- every VaultSecret has its Secret: `kubectl get vaultsecrets,secrets -A`
- certificates are Ready: `kubectl get certificates -A`
- the ingress has {address}, and {host} leads there
- `curl https://{host}/` verifies in stock Debian and Alpine pods
- a token can be made at https://{host}/auth/tokens, one notebook starts, its home is the user's
- all of this again after a machine was restarted

`provision handoff phalanx` looks at the first four of them once the applications are there.
"""


def environment_text(values: Mapping[str, str]) -> str:
    """Settings for a shell to source."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def earlier(folder: Path) -> Mapping[str, Any]:
    """What an earlier hand-over left in ``folder``; nothing where there is none.

    Raises
    ------
    UsageError
        Something else is there.
    """
    if not folder.exists() and not folder.is_symlink():
        return {}
    content = None
    if folder.is_dir() and not folder.is_symlink():
        check_folder(folder)
        content = read_private(folder / OWN)
    if content is None:
        raise UsageError(
            "something else is there; nothing was written",
            where=str(folder),
            wanted="a new folder, or one that this command wrote",
            fix="provision handoff phalanx --output ANOTHER",
        )
    try:
        told: Mapping[str, Any] = json.loads(content)
    except ValueError as error:
        raise UsageError(
            "it is damaged, and what it was made for is not known; nothing was written",
            where=str(folder / OWN),
            fix="provision handoff phalanx --output ANOTHER",
        ) from error
    return told


def refuse_others(folder: Path, before: Mapping[str, Any], site: str, path: str) -> None:
    """Refuse a folder that was handed over for another site, or another place in Vault.

    Parameters
    ----------
    before
        From :func:`earlier`.
    path
        Where the environment's secrets are in Vault.

    Raises
    ------
    UsageError
        It was.
    """
    if before and (before.get("site"), before.get("path")) != (site, path):
        raise UsageError(
            "this was handed over for another site or environment; nothing was changed",
            where=str(folder),
            found=f"site {before.get('site')}, secrets at {before.get('path')}",
            wanted=f"site {site}, secrets at {path}",
            why="its credentials would be lost, and its static secrets would become this one's",
            fix="provision handoff phalanx --output ANOTHER",
        )


def kept_file(folder: Path, name: str) -> bytes | None:
    """What an earlier hand-over's file holds by now; None where there is none."""
    return read_private(folder / name) if folder.exists() else None


def static(folder: Path) -> Mapping[str, Any]:
    """The static secrets as they are filled in by now.

    Raises
    ------
    UsageError
        They are no YAML.
    """
    path = folder / STATIC
    try:
        told = yaml.safe_load(read_private(path) or b"")
    except NO_YAML as error:
        # Its text would show the line, and a secret in it.
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        found = str(getattr(error, "problem", "") or "")
        raise UsageError("this is no YAML", where=f"{path}{line}", found=found) from None
    return told if isinstance(told, Mapping) else {}


def note(folder: Path, own: Mapping[str, Any]) -> None:
    """Keep what the command itself knows of the folder."""
    with writing(folder):
        write_private(folder / OWN, json.dumps(own).encode())


def kept_credentials(told: Mapping[str, Any]) -> Credentials | None:
    """The credentials of an earlier hand-over, if any."""
    return Credentials(**told["credentials"]) if "credentials" in told else None


def ready(folder: Path) -> None:
    """See to it that ``folder`` can be there.

    Raises
    ------
    SecretsError
        It would lie in a Git work tree, or its parent cannot be made.
    """
    refuse_git_tree(folder.absolute())
    make_folder(folder.parent)


def put(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put a folder with ``files`` in place, 0700, files 0600, of the one before it.

    What others put there stays. The caller holds the site's lock.

    Raises
    ------
    SecretsError
        It cannot be written, or would lie in a Git work tree.
    """
    ready(folder)
    incoming = f".{folder.name}.incoming-"
    with writing(folder):
        # What a killed run left has all credentials in it.
        for remains in folder.parent.glob(f"{glob.escape(incoming)}*"):
            shutil.rmtree(remains)
        partial = Path(tempfile.mkdtemp(prefix=incoming, dir=folder.parent))
        try:
            for name, content in files.items():
                write_private(partial / name, content)
            for item in folder.iterdir() if folder.exists() else ():
                if item.name not in files and not item.name.startswith(PARTIAL_PREFIX):
                    _copy(item, partial / item.name)
            if folder.exists():
                exchange(partial, folder)
            else:
                partial.rename(folder)
        finally:
            # What was there before, or what was not finished.
            if partial.exists():
                shutil.rmtree(partial)
        sync_folder(folder.parent)


def _copy(item: Path, target: Path) -> None:
    """Links as links: what they lead to may be large, or not be there at all."""
    if item.is_symlink():
        target.symlink_to(item.readlink())
    elif item.is_dir():
        shutil.copytree(item, target, symlinks=True)
    else:
        shutil.copy2(item, target)
