"""What a commit is beside what was applied last."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.errors import SecretsError
from provision.site import Site
from provision.watch.classify import Kind, difference, effective
from provision.watch.named import files_beside, refuse_prompts
from tests.support.sites import SITE, load

OPTIONAL = frozenset({"radio"})


def site(folder: Path, text: str) -> Site:
    return load(folder, text).site


@pytest.mark.parametrize(
    ("before", "after", "kind", "words"),
    [
        ("", "# a comment\n", Kind.REPAIRS, []),
        ("", "lamp: {lit: true}\n", Kind.REPAIRS, []),
        ("", "radio: {}\n", Kind.ADDITIONS, ["radio"]),
        ("", "lamp: {lit: false}\n", Kind.CHANGES, ["lamp.lit changed"]),
        ("radio: {}\n", "", Kind.CHANGES, ["radio removed"]),
        ("radio: {}\n", "radio: {volume: 4}\n", Kind.CHANGES, ["radio.volume changed"]),
        ("", "connection: {user: anna}\n", Kind.CHANGES, ["connection.user new"]),
        ("", "os_packages: bundle\n", Kind.CHANGES, ["os_packages changed"]),
        ("", "watch: {repository: /srv/site.git}\n", Kind.CHANGES, ["watch new"]),
        (
            "watch: {repository: /srv/site.git, allowed_signers: signers}\n",
            "watch: {repository: /srv/site.git}\n",
            Kind.CHANGES,
            ["watch.allowed_signers removed"],
        ),
    ],
)
def test_what_a_site_file_says_otherwise(
    tmp_path: Path, before: str, after: str, kind: Kind, words: list[str]
) -> None:
    old, new = (effective(site(tmp_path, SITE + text)) for text in (before, after))
    found = difference(old, new, OPTIONAL)
    assert found.kind is kind
    assert all(word in (*found.added, *found.other) for word in words)
    assert bool(found.added) == (kind is Kind.ADDITIONS)


@pytest.mark.parametrize(
    ("old", "new", "kind", "words"),
    [
        ("10.0.0.14}", "10.0.0.14}\n  n5: {address: 10.0.0.15}", Kind.ADDITIONS, ["hosts.n5"]),
        ("10.0.0.14}", "10.0.0.24}", Kind.CHANGES, ["hosts.n4.address changed"]),
        ("  n4: {address: 10.0.0.14}\n", "", Kind.CHANGES, ["hosts.n4 removed"]),
        ("n4: {a", "m4: {a", Kind.CHANGES, ["hosts.n4 removed"]),
        ("speed: 5", "speed: 6", Kind.CHANGES, ["engine.speed changed"]),
        # Set to nothing, it hides what the site says of connections.
        (
            "10.0.0.14}\nnet",
            "10.0.0.14, connection: {user: null}}\nnet",
            Kind.CHANGES,
            ["hosts.n4.connection.user removed"],
        ),
    ],
)
def test_machines_and_values(
    tmp_path: Path, old: str, new: str, kind: Kind, words: list[str]
) -> None:
    text = f"{SITE}connection: {{user: ben}}\n"
    assert old in text
    before, after = (effective(site(tmp_path, one)) for one in (text, text.replace(old, new)))
    found = difference(before, after, OPTIONAL)
    assert found.kind is kind
    assert all(word in (*found.added, *found.other) for word in words)


def test_the_differences_never_show_a_value(tmp_path: Path) -> None:
    old, new = (
        effective(site(tmp_path, SITE + f"lamp: {{}}\nradio: {{volume: {volume}}}\n"))
        for volume in (111, 222)
    )
    assert difference(old, new, OPTIONAL).other == ("radio.volume changed",)


def test_files_beside_the_site_file_count(tmp_path: Path) -> None:
    text = (
        f"{SITE}connection: {{known_hosts: hosts.txt, key: /nowhere/key}}\n"
        "bundle: {trusted_keys: [keys/one.pub, missing.pub]}\n"
    )
    (tmp_path / "keys").mkdir()
    for name in ("hosts.txt", "keys/one.pub"):
        (tmp_path / name).write_text(name)
    found = files_beside(site(tmp_path, text))
    assert set(found) == {"hosts.txt", "keys/one.pub", "missing.pub"}
    assert found["missing.pub"] == ""
    (tmp_path / "hosts.txt").write_text("another")
    changed = files_beside(site(tmp_path, text))
    assert changed["hosts.txt"] != found["hosts.txt"]
    assert changed["keys/one.pub"] == found["keys/one.pub"]


def test_secrets_that_are_asked_for_are_refused_by_their_keys(tmp_path: Path) -> None:
    text = SITE.replace("speed: 5", "speed: 5, password: {prompt: true}")
    text += "connection: {sudo_password: {prompt: true}}\n"
    with pytest.raises(SecretsError) as caught:
        refuse_prompts(site(tmp_path, text), "site.yaml")
    assert "connection.sudo_password" in caught.value.found
    assert "engine.password" in caught.value.found
    refuse_prompts(site(tmp_path, f"{SITE}connection: {{sudo_password: {{store: a}}}}\n"), "x")
