"""Whether a charter stays within an approved pattern: by proof, whatever it looks like.

The pattern's parameters are read off the charter where the template's texts fit its own; the pattern is rendered with
them, and the charter must provably allow nothing that this one does not. Where the pattern's dates are told from the
day on which a charter is made, that is the day of its approval, today at the latest.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

from charter.core.errors import CharterError
from charter.proof.effect import Side, effect_of
from charter.proof.search import Means
from charter.proof.surroundings import Surroundings
from charter.proof.terms_of_charter import Turn, term_changes
from charter.registry.charter import Charter
from charter.registry.pattern import CharterPattern, charter_of

_PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")


def pattern_of(
    charter: Charter, among: Surroundings, patterns: Mapping[str, CharterPattern], means: Means
) -> str | None:
    """Return the name of a pattern that `charter` provably stays within; None if there is none, or nobody knows."""
    for name, pattern in patterns.items():
        model = _rendered(pattern, charter, min(charter.approved.on, means.start.date()))
        if model is not None and _is_within(charter, model, among, means):
            return name
    return None


def _rendered(pattern: CharterPattern, charter: Charter, made_on: dt.date) -> Charter | None:
    found: dict[str, str] = {}
    _read_off(pattern.template, charter.to_json(), found)
    values = {name: each for name, each in found.items() if name in pattern.parameters and "*" not in each}
    try:
        return charter_of(pattern, values, made_on)
    except CharterError:
        return None


def _read_off(template: Any, given: Any, found: dict[str, str]) -> None:  # noqa: ANN401
    """Read the parameters off a charter, the first place that fits each."""
    match template, given:
        case dict(), dict():
            for key, each in template.items():
                _read_off(each, given.get(key), found)
        case list(), list():
            for each, other in zip(template, given, strict=False):
                _read_off(each, other, found)
        case str(), str():
            names = _PLACEHOLDER.findall(template)
            pieces = _PLACEHOLDER.split(template)[::2]
            fits = re.fullmatch("(.+?)".join(map(re.escape, pieces)), given) if names else None
            if fits:
                for name, each in zip(names, fits.groups(), strict=True):
                    found.setdefault(name, each)
        case _:
            return


def _is_within(charter: Charter, model: Charter, among: Surroundings, means: Means) -> bool:
    if (charter.principal, charter.kind, charter.environment) != (model.principal, model.kind, model.environment):
        return False
    same_owner = charter.model_copy(update={"owner": model.owner})
    terms = term_changes(model, same_owner, frozenset(rule.id for rule, _ in among.central.charter_rules()))
    if any(each.turn is not Turn.NARROWS for each in terms):
        return False
    try:
        wide, narrow = (Side(among.bind(each, means.engine), among.systems) for each in (model, charter))
    except CharterError:
        return False
    effect = effect_of(wide, narrow, means)
    return not effect.gains and not effect.gaps
