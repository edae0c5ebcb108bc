"""Texts are decided by automata: exactly the sets of answers that some text gives, each with a shortest such text."""

from __future__ import annotations

import itertools
import random

import pytest

from charter.policy.cedar_value import is_like
from charter.proof.prover import Found, Model, Prover, Refuted
from charter.proof.term import (
    FORMS,
    PART,
    Term,
    TextForm,
    equal,
    evaluate,
    every,
    length,
    like,
    matches,
    negated,
    parts_of,
    some,
    text,
    together,
    value,
)
from charter.proof.texts import MAX_ANSWERS, Question, answers_of, decided

LETTERS = "ab/-1.\\Z"
QUESTIONS: tuple[Question, ...] = (
    ("like", ("a", "")),
    ("like", ("", "b")),
    ("like", ("a", "/", "")),
    ("like", ("", "a", "a", "")),
    ("like", ("a/", "b", "b")),
    ("equal", ""),
    ("equal", "a/b"),
    ("equal", "11.1"),
    *(("matches", form) for form in TextForm),
)


def answer(question: Question, given: str) -> bool:
    kind, told = question
    if kind == "like":
        return is_like(given, told)
    return given == told if kind == "equal" else bool(FORMS[told].fullmatch(given))


@pytest.mark.parametrize("seed", range(60))
def test_the_sets_of_answers_are_those_that_texts_give(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - a test's dice
    asked = tuple(dice.sample(QUESTIONS, dice.randrange(1, 5)))
    found = answers_of(asked)
    assert found is not None
    for told, shortest in found.items():
        assert told == tuple(answer(each, shortest) for each in asked)
    for size in range(5):
        for letters in itertools.product(LETTERS, repeat=size):
            given = "".join(letters)
            told = tuple(answer(each, given) for each in asked)
            assert told in found, (asked, given)
            assert len(found[told]) <= size, (asked, given, found[told])


def test_a_letter_that_nobody_named_stands_for_all_others() -> None:
    named = "ZQ~§Ж"
    found = answers_of((("like", (named, "")), ("matches", TextForm.PATH)))
    assert found is not None
    assert set(found) == {(True, False), (False, True), (False, False)}
    with_all = answers_of(tuple(("equal", each) for each in "ZQ~§Ж߷0123456789bcdxyz-./\\"))
    assert with_all is not None
    assert any(not any(told) for told in with_all)


def test_too_many_answers_are_left_to_the_solver() -> None:
    many = tuple(("like", ("", letter, "")) for letter in "abcdefgh")
    assert MAX_ANSWERS < 2**8
    assert answers_of(many) is None
    asked = every(like(text("t"), told) for _, told in many)
    assert decided([asked]).texts == {}


def test_a_text_that_is_asked_with_another_is_left_to_the_solver() -> None:
    one, other = text("t"), text("u")
    assert decided([every((equal(one, other), like(one, ("a", ""))))]).texts == {}
    assert decided([every((equal(length(one), value(3)), like(one, ("a", ""))))]).texts == {}
    assert set(decided([every((like(other, ("b", "")), like(together([one, other]), ("", "a", ""))))]).texts) == set()


class Truths:
    """A solver of nothing but truths, by trying them all: what is decided here needs no more."""

    def solve(self, claim: Term, wishes: object) -> Found:
        del wishes
        names = sorted({each.data for each in _variables(claim)})
        for told in itertools.product((False, True), repeat=len(names)):
            values = dict(zip(names, told, strict=True))
            if evaluate(claim, values):
                return Model(values)
        return Refuted()


def _variables(claim: Term) -> list[Term]:
    return [each for each in parts_of([claim]) if each.op == "variable"]


def test_a_question_about_texts_alone_is_answered_without_a_solver_of_texts() -> None:
    path = text("t")
    inside = every((like(path, ("charge/", "")), negated(like(path, ("", "x", ""))), matches(path, TextForm.PATH)))
    found = Prover(Truths()).find(inside)
    assert isinstance(found, Model)
    assert found.values["t"] == "charge/1"
    beyond = every((like(path, ("charge/a", "")), negated(like(path, ("charge/", "")))))
    assert isinstance(Prover(Truths()).find(beyond), Refuted)


@pytest.mark.parametrize("seed", range(30))
def test_a_path_is_told_apart_at_the_slash_behind_a_segment(seed: int) -> None:
    """What a pattern asks of `part/rest` comes to the same as of the whole, wherever the part holds no slash."""
    dice = random.Random(seed)  # noqa: S311
    part, rest = text(f"{PART}queue"), text("segment:id")
    whole = together([value("t/"), part, value("/"), rest])
    wanted = tuple("".join(dice.choice("ab/") for _ in range(dice.randrange(4))) for _ in range(dice.randrange(1, 4)))
    term = some((like(whole, wanted), equal(whole, value("t/" + wanted[0]))))
    for _ in range(60):
        given = {
            f"{PART}queue": "".join(dice.choice("ab") for _ in range(dice.randrange(1, 4))),
            "segment:id": "".join(dice.choice("ab/") for _ in range(dice.randrange(1, 4))),
        }
        told = f"t/{given[f'{PART}queue']}/{given['segment:id']}"
        expected = is_like(told, wanted) if len(wanted) > 1 else told == wanted[0]
        assert evaluate(term, given) is (expected or told == "t/" + wanted[0]), (wanted, told)
