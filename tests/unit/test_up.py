"""Which findings `up` refuses to start with."""

from __future__ import annotations

from provision.checks.finding import error, warning
from provision.facts import MachineFacts
from provision.verbs.up import hindering, is_marked
from tests.support.fakes import make_site

SHARED = error("", "n2 and n3 have the same machine-id", among=["n2", "n3"])


def test_an_error_of_a_machine_stands_in_the_way_of_work_on_it() -> None:
    found = [error("n1", "too little memory"), warning("n1", "swap is on")]
    assert list(hindering(found, {"n1"}, set())) == found[:1]
    assert list(hindering(found, {"n2"}, {"n2"})) == []


def test_what_machines_have_together_stands_in_the_way_of_a_new_one_among_them() -> None:
    assert list(hindering([SHARED], {"n1", "n3"}, {"n3"})) == [SHARED]


def test_what_machines_have_together_does_not_hold_up_the_repair_of_a_running_site() -> None:
    assert list(hindering([SHARED], {"n2", "n3"}, set())) == []


def test_a_new_machine_has_nothing_to_do_with_what_others_have_together() -> None:
    assert list(hindering([SHARED], {"n4"}, {"n4"})) == []


def test_a_machine_is_of_the_site_by_its_mark() -> None:
    site = make_site()

    def marked(text: str | None) -> bool:
        return is_marked(site, MachineFacts("n1", {"texts": {"/var/lib/provision/site": text}}))

    assert marked("unit\n")
    assert not marked("another\n")
    assert not marked(None)
