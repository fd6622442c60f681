"""Keeps compiled templates between runs, as Python keeps compiled modules."""

from __future__ import annotations

from contextlib import suppress

import jinja2
from jinja2.bccache import Bucket

from provision.paths import cache_path

TEMPLATES = "templates"
"""Folder of the cache."""


class _Kept(jinja2.FileSystemBytecodeCache):
    """A cache that may fail: then the template is compiled once more next time."""

    def dump_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError):
            super().dump_bytecode(bucket)


def compiled_templates() -> jinja2.BytecodeCache | None:
    """The cache, which only its owner can read; none where its folder cannot be made.

    Jinja names an entry after the template and believes it only with the digest of its text.
    """
    folder = cache_path() / TEMPLATES
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return _Kept(str(folder))
