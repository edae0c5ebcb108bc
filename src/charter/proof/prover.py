"""What a proof needs of a solver: an answer to whether a term can hold, and where.

The sets that terms speak of are told apart here by the texts that are asked of them: each such text is in or not, and
there may be others. Texts are decided apart (`texts.py`). So a solver mostly needs to know of truth and numbers alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from charter.proof.term import Sort, Term, Values, every, negated, parts_of, rewritten, truth
from charter.proof.texts import decided

_OTHERS = "…"  # a set may hold what no term asks of


@dataclass(frozen=True, slots=True)
class Refuted:
    """The claim holds nowhere."""


@dataclass(frozen=True, slots=True)
class Model:
    """The claim holds here, for one."""

    values: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can say, in the time and memory there are."""

    why: str


Found = Refuted | Model | Unknown


class Solver(Protocol):
    """Solves claims without sets."""

    def solve(self, claim: Term, wishes: Sequence[Term]) -> Found:
        """Return where `claim` holds, if anywhere, with as many of `wishes` as can be had, the first ones first."""
        ...


@dataclass(frozen=True, slots=True)
class Prover:
    """Asks a solver, once what is known by itself is left out."""

    solver: Solver

    def find(self, claim: Term, wishes: Sequence[Term] = ()) -> Found:
        """Return where `claim` holds, if anywhere; every set in the values is a frozenset of texts."""
        if claim.op == "value" and not claim.data:
            return Refuted()
        known = decided(grounded([claim, *wishes]))
        plain, *others = known.roots
        if plain.op == "value" and not plain.data:
            return Refuted()
        found = self.solver.solve(plain, others)
        return Model(_with_sets(known.with_texts(found.values))) if isinstance(found, Model) else found


def grounded(roots: Sequence[Term]) -> list[Term]:
    """Return terms with each question about a set in place as the truth of whether a text is in it."""
    asked: dict[str, dict[str, None]] = {}
    atoms = [each for each in parts_of(roots) if each.op in ("has", "within")]
    for each in atoms:
        name, told = each.data
        entries = asked.setdefault(name, {})
        entries.update(dict.fromkeys([told] if each.op == "has" else sorted(told)))
    change = {each: _plainly(each, asked) for each in atoms}
    return [rewritten(root, change) for root in roots]


def _plainly(atom: Term, asked: Mapping[str, Mapping[str, None]]) -> Term:
    name, told = atom.data
    if atom.op == "has":
        return _is_in(name, told)
    others = [_is_in(name, each) for each in asked[name] if each not in told]
    return every(negated(each) for each in (*others, truth(f"{name}∌{_OTHERS}")))


def _is_in(name: str, entry: str) -> Term:
    return truth(f"{name}∋{entry}")


def _with_sets(values: Values) -> Values:
    """Return the values with the sets that the truths in them speak of."""
    found: dict[str, Any] = {}
    sets: dict[str, set[str]] = {}
    for variable, given in values.items():
        name, is_member, entry = variable.partition("∋")
        base, is_others, _ = variable.partition("∌")
        if is_member:
            sets.setdefault(name, set()).update([entry] if given else [])
        elif is_others:
            sets.setdefault(base, set()).update([_OTHERS] if given else [])
        else:
            found[variable] = given
    return found | {name: frozenset(entries) for name, entries in sets.items()}


__all__ = ["Found", "Model", "Prover", "Refuted", "Solver", "Sort", "Unknown"]
