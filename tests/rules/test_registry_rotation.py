"""When credentials are wanted replaced, due and over: by the charter in force, and by a person's wish."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import a_charter
from charter.registry.charter import CredentialType
from charter.registry.principal import ClientKey
from charter.registry.rotation import LONGEST_OVERLAP, OVERLAP, due_at, over_at, overlap_of, wanted_at
from charter.registry.standing import Standing
from charter.registry.terms import Terms, read_terms, terms_of, write_terms

NOW = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)
DAY = 86_400


def a_key(**changed: Any) -> ClientKey:
    given: dict[str, Any] = {
        "id": "crd_1",
        "principal_id": "prn_1",
        "thumbprint": "t",
        "jwk": {"kty": "EC"},
        "standing": Standing.ACTIVE,
        "registered_at": NOW,
    }
    return ClientKey(**given | changed)


def terms(rotate: int | None = None, grace: int | None = None) -> Terms:
    return Terms(CredentialType.PRIVATE_KEY_JWT, rotate_seconds=rotate, grace_seconds=grace)


def days(number: float) -> dt.datetime:
    return NOW + dt.timedelta(days=number)


@pytest.mark.parametrize(
    ("key", "said", "wanted", "due", "over"),
    [
        (a_key(), terms(), None, None, None),
        (a_key(), terms(30 * DAY), days(29), days(30), None),
        (a_key(), terms(30 * DAY, 7 * DAY), days(29), days(30), days(37)),
        (a_key(), terms(DAY, 0), days(0.9), days(1), days(1)),
        (a_key(due_at=days(3)), terms(), days(2.7), days(3), None),
        (a_key(due_at=days(3)), terms(30 * DAY, DAY), days(2.7), days(3), days(4)),
        (a_key(replaced_by="u", ends_at=days(1)), terms(30 * DAY, DAY), NOW, None, days(1)),
        (a_key(jwk={"kty": "secret"}), terms(DAY), days(0.9), days(1), None),
        (a_key(jwk={"kty": "federated"}), terms(DAY), None, None, None),
        (a_key(standing=Standing.REVOKED), terms(DAY), None, None, None),
    ],
)
def test_when_a_credential_is_wanted_due_and_over(
    key: ClientKey,
    said: Terms,
    wanted: dt.datetime | None,
    due: dt.datetime | None,
    over: dt.datetime | None,
) -> None:
    assert (wanted_at(key, said), due_at(key, said), over_at(key, said)) == (wanted, due, over)


@given(st.integers(60, 10**8), st.integers(0, 10**8))
def test_a_client_is_told_before_it_is_due_and_has_all_the_grace_there_is(rotate: int, grace: int) -> None:
    key, said = a_key(), terms(rotate, grace)
    wanted, due, over = wanted_at(key, said), due_at(key, said), over_at(key, said)
    assert wanted is not None
    assert due is not None
    assert over is not None
    assert NOW < wanted < due <= over


def test_an_overlap_is_as_wanted_or_as_usual_and_no_longer_than_a_key_lives() -> None:
    assert overlap_of(terms()) == OVERLAP
    assert overlap_of(terms(60)) == dt.timedelta(seconds=60)
    assert overlap_of(terms(60), dt.timedelta(hours=2)) == dt.timedelta(hours=2)
    assert overlap_of(terms(), dt.timedelta(days=4000)) == LONGEST_OVERLAP


def test_the_terms_that_a_charter_sets_are_kept_and_read_again() -> None:
    charter = a_charter(credential={"type": "private-key-jwt", "rotate": "30d", "grace": "7d"})
    said = terms_of(charter.credential)
    assert (said.rotate_seconds, said.grace_seconds) == (30 * DAY, 7 * DAY)
    assert read_terms(write_terms(said)) == said


@pytest.mark.parametrize(
    ("credential", "why"),
    [
        ({"type": "private-key-jwt", "grace": "7d"}, "`grace` says how long a credential counts that `rotate` makes"),
        ({"type": "private-key-jwt", "rotate": "30s"}, "`rotate` is at least 1m"),
        ({"type": "spiffe", "rotate": "30d"}, "`rotate` is for keys, certificates and secrets that are registered"),
        ({"type": "mutual-tls", "certificate": {"san_dns": "a.example.com"}, "rotate": "30d"}, "`rotate` is for keys"),
    ],
)
def test_what_makes_no_sense_is_refused_with_why(credential: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match="rotate") as caught:
        a_charter(credential=credential)
    assert why in str(caught.value)
