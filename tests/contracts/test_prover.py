"""The solver and the evaluation of terms give each term the same value; what is not decided is never refuted."""

from __future__ import annotations

import random
from typing import Any

import pytest

from charter.adapters.z3_solver import Z3Solver
from charter.proof.prover import Model, Prover, Refuted, Unknown
from charter.proof.term import (
    FALSE,
    TRUE,
    Sort,
    Term,
    TextForm,
    below,
    divided,
    either,
    equal,
    evaluate,
    every,
    has,
    length,
    like,
    matches,
    negated,
    number,
    parts_of,
    plus,
    rest_of,
    some,
    text,
    times,
    together,
    truth,
    value,
    within,
)

TEXTS = ("", "a", "ab", "charge/1", "Größe", "a*b", 'say "hi"\\', "\\u{41}", "\n", "日本", "*")
PATTERNS = (("", ""), ("a", ""), ("", "b"), ("charge/", ""), ("a", "b", ""), ("", "*", ""), ("\\u{4", "}"), ("ö", ""))


class Dice:
    """Terms made by dice."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - a test's dice

    def truth(self, depth: int) -> Term:
        dice = self.dice
        if depth <= 0:
            return dice.choice((truth(dice.choice("pq")), TRUE, FALSE, has("s", dice.choice("xy"))))
        return dice.choice(
            (
                lambda: negated(self.truth(depth - 1)),
                lambda: every((self.truth(depth - 1), self.truth(depth - 1), self.truth(depth - 2))),
                lambda: some((self.truth(depth - 1), self.truth(depth - 1))),
                lambda: either(*(self.truth(depth - 1) for _ in range(3))),
                lambda: equal(self.number(depth - 1), self.number(depth - 1)),
                lambda: below(self.number(depth - 1), self.number(depth - 1), or_equal=dice.random() < 0.5),
                lambda: equal(self.text(depth - 1), self.text(depth - 1)),
                lambda: like(self.text(depth - 1), dice.choice(PATTERNS)),
                lambda: matches(self.text(depth - 1), dice.choice(tuple(TextForm))),
                lambda: within("s", dice.sample(("x", "y", "z"), dice.randrange(3))),
            )
        )()

    def number(self, depth: int) -> Term:
        dice = self.dice
        if depth <= 0:
            return dice.choice((number(dice.choice("mn")), value(dice.choice((-7, -1, 0, 3, 10_000)))))
        return dice.choice(
            (
                lambda: plus(self.number(depth - 1), self.number(depth - 1)),
                lambda: times(self.number(depth - 1), dice.choice((-1, 0, 2))),
                lambda: divided(self.number(depth - 1), dice.choice((1, 3))),
                lambda: rest_of(self.number(depth - 1), 3),
                lambda: length(self.text(depth - 1)),
                lambda: either(self.truth(depth - 1), self.number(depth - 1), self.number(depth - 2)),
            )
        )()

    def text(self, depth: int) -> Term:
        dice = self.dice
        if depth <= 0:
            return dice.choice((text(dice.choice("tu")), value(dice.choice(TEXTS))))
        return dice.choice(
            (
                lambda: together([self.text(depth - 1), self.text(depth - 1)]),
                lambda: either(self.truth(depth - 1), self.text(depth - 1), self.text(depth - 2)),
                lambda: self.text(0),
            )
        )()

    def values(self) -> dict[str, Any]:
        dice = self.dice
        found: dict[str, Any] = {name: dice.random() < 0.5 for name in "pq"}
        found |= {name: dice.choice((-100, -7, -1, 0, 1, 2, 3, 10_000)) for name in "mn"}
        found |= {name: dice.choice(TEXTS) for name in "tu"}
        return found | {"s": frozenset(dice.sample(("x", "y", "z", "other"), dice.randrange(4)))}


def pinned(values: dict[str, Any]) -> Term:
    """Return that every variable has its value."""
    made = {bool: truth, int: number, str: text}
    plain = [equal(made[type(each)](name), value(each)) for name, each in values.items() if name != "s"]
    held = [has("s", each) if each in values["s"] else negated(has("s", each)) for each in ("x", "y", "z", "other")]
    return every((*plain, *held, within("s", ("x", "y", "z", "other"))))


@pytest.mark.parametrize("seed", range(40))
def test_a_term_has_one_value_for_the_solver_and_for_us(seed: int) -> None:
    dice, prover = Dice(seed), Prover(Z3Solver())
    for _ in range(4):
        term, values = dice.truth(4), dice.values()
        holds = bool(evaluate(term, values))
        claim = every((pinned(values), term))
        assert isinstance(prover.find(claim), Model if holds else Refuted), (term, values)


@pytest.mark.parametrize("seed", range(40))
def test_what_the_solver_finds_is_so(seed: int) -> None:
    dice, prover = Dice(1000 + seed), Prover(Z3Solver())
    for _ in range(3):
        term = dice.truth(4)
        found = prover.find(term, [dice.truth(2)])
        if isinstance(found, Model):
            assert evaluate(term, found.values) is True, (term, found)
        elif isinstance(found, Refuted):
            assert not any(evaluate(term, dice.values()) for _ in range(200)), term


@pytest.mark.parametrize("given", [*TEXTS, "\\", "\\u{5c}u{41}", "\U0002fffe", "\x00"])
def test_a_text_comes_back_as_it_went(given: str) -> None:
    claim = every((equal(text("t"), value(given)), like(together([text("t"), text("u")]), ("", ""))))
    real = every((claim, below(length(text("t")), value(1000))))  # whose length is asked stays a text
    for each in (claim, real):
        found = Prover(Z3Solver()).find(each)
        assert isinstance(found, Model)
        assert found.values["t"] == given


def test_texts_that_are_only_compared_are_told_apart_from_all_that_are_written_out() -> None:
    unknown = text("t")
    claim = every(negated(equal(unknown, value(each))) for each in ("other", "a", ""))
    found = Prover(Z3Solver()).find(every((claim, negated(equal(unknown, text("u"))))))
    assert isinstance(found, Model)
    assert found.values["t"] not in ("other", "a", "", found.values["u"])


def test_a_wish_is_granted_where_it_can_be_and_dropped_where_it_cannot() -> None:
    amount = number("n")
    wishes = [below(amount, value(5)), equal(rest_of(amount, 10), value(0)), equal(amount, value(41))]
    found = Prover(Z3Solver()).find(below(value(7), amount), wishes)
    assert isinstance(found, Model)
    assert found.values["n"] > 7
    assert found.values["n"] % 10 == 0


def test_what_takes_too_long_is_unknown() -> None:
    """Three texts of a thousand characters, put together both ways, and unlike: no solver is quick at that."""
    parts = [text(f"t{n}") for n in range(6)]
    hard = every(
        (
            equal(together(parts), together(parts[::-1])),
            negated(equal(together(parts[:3]), together(parts[:3][::-1]))),
            *(equal(length(each), value(997 + n)) for n, each in enumerate(parts)),
            *(like(each, ("a", "b", "c", "a", "")) for each in parts),
            *(negated(like(each, ("", "cc", "ab", ""))) for each in parts),
        )
    )
    found = Prover(Z3Solver(seconds=0.2)).find(hard)
    assert isinstance(found, Unknown)
    assert found.why


def test_a_question_of_too_many_terms_is_unknown() -> None:
    claim = every(negated(equal(number(f"n{n}"), number(f"n{n + 1}"))) for n in range(20_000))
    assert isinstance(Prover(Z3Solver()).find(claim), Unknown)


def test_what_folds_away_is_not_put_to_a_solver() -> None:
    solver = Z3Solver()
    one = every((truth("p"), equal(text("t"), value("a"))))
    assert isinstance(Prover(solver).find(every((one, negated(one)))), Refuted)
    assert solver.asked == 0


def test_a_set_is_what_is_said_of_it() -> None:
    claim = every((has("s", "x"), negated(has("s", "y")), negated(within("s", ("x",)))))
    found = Prover(Z3Solver()).find(claim)
    assert isinstance(found, Model)
    assert found.values["s"] >= {"x"}
    assert len(found.values["s"]) == 2
    assert "y" not in found.values["s"]
    assert evaluate(claim, found.values) is True


def test_every_part_of_a_term_has_a_sort_that_fits() -> None:
    for seed in range(20):
        for part in parts_of([Dice(seed).truth(5)]):
            is_truth = part.sort is Sort.TRUTH
            assert is_truth or part.op not in ("and", "or", "not", "equal", "like", "has", "within", "matches")
