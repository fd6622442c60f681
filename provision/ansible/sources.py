"""Digests and bytes of what is not a template: blobs of the bundle, and secrets."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.ansible.work import encoded
from provision.depot_content import FOLDER
from provision.depot_tree import blob_path
from provision.errors import ConfigError
from provision.phase import BundleView
from provision.state import File

if TYPE_CHECKING:
    from provision.secrets import SecretStore


class Sources:
    """What one machine's files are made from, read on the controller.

    Parameters
    ----------
    variables
        The machine's ``provision_*`` variables: ``provision_bundle_path``,
        ``provision_bundle_trusted_keys``, ``provision_architecture``,
        ``provision_secrets_path`` and ``provision_depots``. Only those are
        needed whose kind of file the role has.
    host
        The machine's name.
    """

    def __init__(self, variables: Mapping[str, Any], host: str) -> None:
        self.variables = variables
        self.host = host

    def blob(self, name: str) -> str:
        """sha256 of the bundle's file ``name`` for this machine's architecture."""
        return self.bundle.sha256(name, self._needed("provision_architecture"))

    def secret(self, name: str) -> str | None:
        """sha256 of the secret ``name``, or None where it was never made or is lost."""
        return self._secrets.sha256(name)

    def contents(self, file: File) -> Mapping[str, Any]:
        """The file's bytes, or where the machine fetches them."""
        match file.source:
            case "content":
                return encoded((file.content or "").encode())
            case "secret":
                return encoded(self._secrets.read(file.name or ""))
            case "push":
                # The content of the machine's own depot came over SSH, and its registry with it.
                return {"urls": [f"file://{FOLDER}/{blob_path(file.sha256 or '')}"]}
            case "blob":
                return {"urls": self.depot_urls(file.sha256 or "")}

    @property
    def has_packages(self) -> bool:
        """Whether Debian packages come from the bundle, not from the machine's own sources."""
        return bool(self.variables.get("provision_os_packages") == "bundle")

    def package_index(self, os_release: str) -> str:
        """Index of the bundle's Debian packages for a machine with this /etc/os-release."""
        from provision.bundle import package_index

        found = re.search(r'^VERSION_ID="?([^"\n]+)', os_release, re.MULTILINE)
        name = package_index(found[1] if found else "unknown")
        return self.bundle.path(name, self._needed("provision_architecture")).read_text("utf-8")

    @property
    def _secrets(self) -> SecretStore:
        from provision.secrets import SecretStore

        return SecretStore(Path(self._needed("provision_secrets_path")))

    @cached_property
    def bundle(self) -> BundleView:
        """The site's bundle, its signature and lock verified."""
        from provision.bundle import Bundle

        keys = [Path(key) for key in self._needed("provision_bundle_trusted_keys")]
        return Bundle.open(Path(self._needed("provision_bundle_path")), keys)

    def depot_urls(self, sha256: str) -> list[str]:
        """Where a blob lies in each depot, this machine's first one first."""
        from provision.bundle import FILES_REPOSITORY

        depots: list[str] = self._needed("provision_depots")
        # Machines begin at different depots, and each still finds all of them.
        start = zlib.crc32(self.host.encode()) % max(len(depots), 1)
        return [
            f"{depot.rstrip('/')}/v2/{FILES_REPOSITORY}/blobs/sha256:{sha256}"
            for depot in depots[start:] + depots[:start]
        ]

    def _needed(self, name: str) -> Any:
        value = self.variables.get(name)
        if value is None:
            raise ConfigError(
                f"the inventory gives {self.host} no variable {name}",
                fix="use the inventory that this writes: provision inventory",
            )
        return value
