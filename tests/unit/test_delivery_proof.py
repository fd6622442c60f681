"""What ``verify`` says of Argo CD."""

from __future__ import annotations

import pytest

from provision.phase import Context
from provision.proof import NotProvenError
from provision.proofs.delivery import DeliveryProof
from tests.support.cases import make_context, make_site
from tests.support.ground import FakeGround

SETTINGS = {"address": "192.0.2.205", "host": "argocd.site.example.org"}


class Answering(FakeGround):
    """Ground on which Argo CD gives ``answer``, or nobody does."""

    def __init__(self, context: Context, answer: str | None) -> None:
        super().__init__(context)
        self.answer = answer

    def fetch(self, url: str, trust: str = "") -> str:
        assert (url, trust) == ("https://192.0.2.205/api/version", "the site's")
        if self.answer is None:
            raise NotProvenError("it does not answer", found="connection refused")
        return self.answer

    def authority(self) -> str:
        return "the site's"


def prove(answer: str | None) -> str:
    context = make_context(make_site({"argocd": SETTINGS}))
    return DeliveryProof().prove(Answering(context, answer), "")


def test_it_answers_with_its_version() -> None:
    assert prove('{"Version": "v3.6.1"}') == "v3.6.1 answers at https://192.0.2.205/api/version"


@pytest.mark.parametrize(
    ("answer", "says"),
    [(None, "connection refused"), ("<html>", "'<html>' is no answer"), ("{}", "'{}' is no")],
)
def test_whatever_else_answers_proves_nothing(answer: str | None, says: str) -> None:
    with pytest.raises(NotProvenError) as caught:
        prove(answer)
    assert says in caught.value.found


def test_a_certificate_for_its_name_alone_is_no_proof_at_its_address() -> None:
    ground = Answering(make_context(make_site({})), None)
    own, by_an_issuer = (
        make_site({"argocd": {**SETTINGS, **more}}) for more in ({}, {"issuer": "site-ca"})
    )
    assert DeliveryProof().cases(ground, own) == ("",)
    assert DeliveryProof().cases(ground, by_an_issuer) == ()
