"""Texts that a recorded argument can have been, as far as policies could tell them apart.

Evidence says of a text how long it is, and not what it says. Policies compare texts with literals and patterns; so of
all texts only these matter: each literal, an instance of each pattern and of each two patterns at once, and one that is
none of them. A list stands as one of its entries, with and without another.

That covers whatever a policy can tell apart by the texts written in it, but for overlaps of three patterns or more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import product

from charter.policy.asked import Asked
from charter.policy.cedar_value import Record
from charter.policy.reads import Read

MAX_SUPPOSED = 512  # combinations that are tried
_OTHER = "\u2205 a text that no policy names"


def candidates(asked: Asked, reads: Sequence[Read], hidden: Collection[str]) -> Iterator[Mapping[str, Record] | None]:
    """Yield, for the arguments `hidden`, records that they can have been; None first if there are too many to try."""
    patterns: dict[str, list[str]] = {name: [] for name in sorted(hidden)}
    for read in reads:
        if read.argument in patterns:
            patterns[read.argument] += read.patterns
    options = [_records(asked.arguments[name] or {}, dict.fromkeys(patterns[name])) for name in patterns]
    total = 1
    for each in options:
        total *= len(each)
    if total > MAX_SUPPOSED:
        yield None
        return
    for chosen in product(*options):
        yield dict(zip(patterns, chosen, strict=True))


def _records(kept: Record, patterns: Collection[str]) -> list[Record]:
    texts = list(dict.fromkeys((_OTHER, *_instances(patterns))))
    if "length" in kept:  # it was a text
        return [kept | {"text": text, "texts": frozenset({text})} for text in texts]
    lists = [frozenset({text}) for text in texts] + [frozenset({text, _OTHER}) for text in texts[1:]]
    return [kept | {"texts": each} for each in lists]


def _instances(patterns: Collection[str]) -> Iterator[str]:
    for each in patterns:
        yield each.replace("*", "")
        yield each.replace("*", "x")
    starred = [each for each in patterns if "*" in each]
    for one in starred:
        for other in starred:
            if one != other:
                yield one.rpartition("*")[0].replace("*", "") + "x" + other.partition("*")[2].replace("*", "")
