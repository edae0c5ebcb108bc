"""How often Charter replaces its own keys: as is usual, or as the settings say, within bounds."""

from __future__ import annotations

import datetime as dt

import pytest

from charter.config import settings_from
from charter.core.errors import MalformedError
from charter.identity.period import LONGEST, SHORTEST, USUAL, parse_periods


def test_what_is_named_is_changed_and_the_rest_is_as_usual() -> None:
    settings = settings_from({"CHARTER_ROTATE": "token=7d, evidence=180d"})
    assert settings.rotate == dict(USUAL) | {"token": dt.timedelta(days=7), "evidence": dt.timedelta(days=180)}
    assert settings_from({}).rotate == USUAL


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tokens=7d", "`tokens` is no key of Charter's"),
        ("token", "is no duration"),
        ("token=0d", "is no duration"),
        ("token=7d,token=8d", "`token` is there twice"),
        ("x509-intermediate=2w", "`x509-intermediate` is replaced every 1m to 13d, not every 2w"),
        ("data=30s", "`data` is replaced every 1m to 365d, not every 30s"),
    ],
)
def test_anything_else_is_refused_with_why(text: str, why: str) -> None:
    with pytest.raises(MalformedError) as caught:
        settings_from({"CHARTER_ROTATE": text})
    assert why.lower() in caught.value.detail


def test_each_key_has_a_usual_period_within_its_bounds() -> None:
    assert USUAL.keys() == LONGEST.keys()
    assert all(SHORTEST < USUAL[name] < LONGEST[name] for name in USUAL)
    assert parse_periods("") == USUAL
