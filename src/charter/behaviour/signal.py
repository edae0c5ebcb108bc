"""What was noticed: an act's features, each with its contribution in bits and a sentence, and what they add up to."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from charter.core.canonical import digest_of
from charter.core.clock import rfc3339

MAX_KEY = 200


class Feature(StrEnum):
    """What is held against the baseline. The words stand in responses.yaml, in findings and in the console."""

    RATE = "rate"  # calls in ten minutes
    SEQUENCE = "sequence"  # what follows what
    OBJECT = "object"
    COUNTERPARTY = "counterparty"  # a system, an initiator, an enforcement point
    HOURS = "hours"
    VOLUME = "volume"  # of answers
    DATA = "data"  # classes of data
    DENIALS = "denials"  # a run of them
    COST = "cost"
    GEOGRAPHY = "geography"  # networks that credentials are used from
    PURPOSE = "purpose"  # outside what it was given, or what is done under that purpose


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one feature adds: bits of surprise, about what, and why, in one sentence."""

    feature: Feature
    key: str  # what an owner can say is normal: `payments: charge/*`
    bits: float
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON; bits with one decimal, as text, for evidence holds no floats."""
        return {
            "feature": self.feature.value,
            "key": self.key,
            "bits": f"{self.bits:.1f}",
            "sentence": self.sentence,
        }


@dataclass(frozen=True, slots=True)
class Signal:
    """An act, or what a session came to with it, unlike what its principal does."""

    principal: str  # id
    at: dt.datetime
    index: int  # of the act's entry
    verdict_id: str
    effect: str
    deed: str
    score: float  # bits: the sum of the contributions, or what the session came to
    contributions: tuple[Contribution, ...]  # strongest first; never empty
    by_session: bool = False  # its acts together, none of which was enough

    @property
    def lead(self) -> Contribution:
        """What it is mostly about."""
        return self.contributions[0]

    @property
    def fingerprint(self) -> str:
        """What makes it the same as an earlier one: whose it is, and what it is mostly about."""
        told = {"kind": "behaviour", "principal": self.principal, "feature": self.lead.feature.value}
        return digest_of(told | {"key": self.lead.key})

    @property
    def sentence(self) -> str:
        """Why, in one sentence."""
        return self.lead.sentence

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "principal": self.principal,
            "at": rfc3339(self.at),
            "index": self.index,
            "verdict_id": self.verdict_id,
            "deed": self.deed,
            "effect": self.effect,
            "score": f"{self.score:.1f}",
            "by_session": self.by_session,
            "contributions": [each.to_json() for each in self.contributions],
        }


def together(found: Iterable[Signal]) -> dict[str, list[Signal]]:
    """Return signals that are the same, by their fingerprint, strongest first."""
    grouped: dict[str, list[Signal]] = {}
    for each in found:
        grouped.setdefault(each.fingerprint, []).append(each)
    return {name: sorted(those, key=lambda each: -each.score) for name, those in grouped.items()}
