"""Where a site reads published files and images from: a company's own copies, by prefix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from provision.bundle.skopeo import Address
from provision.errors import UsageError

SCHEMES = ("https://", "http://", "docker://")


@dataclass(frozen=True)
class Mirrors:
    """Prefixes of addresses, and what to read instead.

    Files have ``https://…`` addresses, images ``docker://registry/repository``.
    The longest prefix that fits decides. An image's mirror that begins with
    ``http://`` is read without encryption.
    """

    prefixes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Mirrors:
        """Mirrors from ``FROM=TO`` texts.

        Raises
        ------
        UsageError
            A text is not of that form, or a side is not an address.
        """
        prefixes = {}
        for text in texts:
            old, _, new = text.partition("=")
            if not old.startswith(SCHEMES) or not new.startswith(SCHEMES):
                raise UsageError(
                    "a mirror is not FROM=TO",
                    found=text,
                    wanted="two addresses that begin with https://, http:// or docker://",
                    fix="for example --mirror https://dl.k8s.io=https://mirror.example.org/k8s"
                    " --mirror docker://registry.k8s.io=docker://mirror.example.org/k8s",
                )
            prefixes[old] = new
        return cls(prefixes)

    def url(self, url: str) -> str:
        """Where to read the file at ``url``."""
        return self._replaced(url)

    def image(self, reference: str, digest: str) -> Address:
        """Where to read the image whose published name is ``reference``.

        Parameters
        ----------
        reference
            ``registry/repository:tag``.
        digest
            Published digest.
        """
        repository = reference.rpartition(":")[0]
        scheme, _, rest = self._replaced(f"docker://{repository}").partition("://")
        return Address(rest, digest, encrypted=scheme != "http")

    def _replaced(self, address: str) -> str:
        for old in sorted(self.prefixes, key=len, reverse=True):
            rest = address[len(old) :]
            whole = not rest or old.endswith("/") or rest.startswith("/")
            if address.startswith(old) and whole:
                return self.prefixes[old] + rest
        return address
