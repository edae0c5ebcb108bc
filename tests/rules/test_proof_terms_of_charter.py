"""What a charter says besides grants, compared: each change is told with what it was and what it becomes."""

from __future__ import annotations

from typing import Any

import pytest

from builders import a_charter
from charter.proof.terms_of_charter import Turn, term_changes

LENT = {"from": ["humans"], "to": ["b"], "purposes": ["p"], "max_ttl": "1h", "max_depth": 2}


@pytest.mark.parametrize(
    ("changed", "field", "turn", "text"),
    [
        ({"max_ttl": "8h"}, "max_ttl", Turn.WIDENS, "what is lent lasts 8h at most instead of 1h"),
        ({"max_ttl": "30m"}, "max_ttl", Turn.NARROWS, "what is lent lasts 30m at most instead of 1h"),
        ({"max_depth": 3}, "max_depth", Turn.WIDENS, "chains are 3 deep at most instead of 2"),
        ({"max_depth": 1}, "max_depth", Turn.NARROWS, "chains are 1 deep at most instead of 2"),
        ({"from": ["humans", "c"]}, "from", Turn.WIDENS, "`c` may lend it authority"),
        ({"to": []}, "to", Turn.NARROWS, "`b` may no longer borrow authority of it"),
        ({"purposes": []}, "purposes", Turn.WIDENS, "the purposes of what is lent change"),
    ],
)
def test_a_change_of_what_is_lent_is_told_with_both_values(
    changed: dict[str, Any], field: str, turn: Turn, text: str
) -> None:
    (found,) = term_changes(a_charter(delegation=LENT), a_charter(delegation=LENT | changed))
    assert (found.field, found.turn, found.text) == (f"delegation.{field}", turn, text)


def test_review_and_end_are_ordered_and_what_has_no_order_is_not_comparable() -> None:
    before = a_charter(delegation=None)
    changes = {"review": "365d", "expires": "2027-01-01", "model": {"provider": "openai", "name": "gpt-*"}}
    found = {each.field: each.turn for each in term_changes(before, a_charter(delegation=None, **changes))}
    assert found == {"review": Turn.WIDENS, "expires": Turn.NARROWS, "model": Turn.UNCLEAR}
