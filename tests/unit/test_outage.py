"""Silences are told apart from slow questions."""

from __future__ import annotations

from tests.lab.outage import Answers


def test_the_longest_time_between_two_answers_counts() -> None:
    moments = [(0, True), (1, True), (2, False), (5, False), (9, True), (10, False), (12, True)]
    assert Answers([(float(at), ok) for at, ok in moments]).longest_silence(13) == 8


def test_what_is_asked_seldom_is_not_silent() -> None:
    assert Answers([(0.0, True), (30.0, True)]).longest_silence(31) == 0


def test_what_does_not_answer_any_more_is_silent_until_the_end() -> None:
    assert Answers([(0.0, True), (1.0, False), (20.0, False)]).longest_silence(30) == 30
