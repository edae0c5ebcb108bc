"""`sharing.yaml` and what charters say of places: read strictly, found by the narrowest network, in one spelling."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from charter.core.canonical import canonical
from charter.registry.charter import Credential, Sharing
from charter.registry.manifest import parse_estate
from charter.registry.place import INSIDE, Places, is_network, parse_network
from charter.registry.problem import EstateError
from charter.registry.sharing import firmest
from charter.registry.terms import read_terms, terms_of, write_terms
from houses import estate_files

FILE: dict[str, Any] = {
    "charter": "v1",
    "places": {"office": ["203.0.113.0/24", "2001:db8:77::/48"], "lab": ["203.0.113.64/26"]},
    "nodes": {"build-1": ["10.8.0.4/32"]},
    "rules": [{"id": "production", "for": {"environments": ["production"]}, "proved": "suspend", "reason": "at once"}],
}


def problems(central: dict[str, Any], **credential: Any) -> list[str]:
    given = {"type": "private-key-jwt"} | credential
    files = estate_files(credential=given) | {"sharing.yaml": canonical(central).decode()}
    try:
        parse_estate(files)
    except EstateError as err:
        return [str(each) for each in err.problems]
    return []


def test_a_charter_names_places_of_the_file_and_networks() -> None:
    assert problems(FILE, places=["office", "10.4.0.0/16"], instances=1, sharing="report") == []


def test_a_place_that_nobody_wrote_down_is_a_problem_with_the_nearest() -> None:
    (found,) = problems(FILE, places=["ofice"])
    assert "`ofice` is no place of sharing.yaml" in found
    assert "office" in found


def test_a_rule_for_a_team_that_is_none_is_a_problem() -> None:
    rule = {"id": "x", "for": {"teams": ["paiments-ops"]}, "seen": "restrain", "reason": "r"}
    (found,) = problems(FILE | {"rules": [rule]})
    assert "`paiments-ops` is no team" in found


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "bits beyond the prefix": ({"places": {"office": ["203.0.113.7/24"]}}, "is no network"),
    "IPv4 in IPv6's clothes": ({"places": {"office": ["::ffff:203.0.113.0/120"]}}, "is IPv4 written as IPv6"),
    "an interface": ({"places": {"office": ["fe80::%eth0/64"]}}, "names an interface"),
    "one network twice": ({"places": {"a": ["10.0.0.0/8"], "b": ["10.0.0.0/8"]}}, "is `a` already"),
    "a rule that asks nothing": ({"rules": [{"id": "x", "reason": "r"}]}, "asks nothing"),
    "two rules of one name": ({"rules": [{"id": "x", "seen": "report", "reason": "r"}] * 2}, "two rules are called"),
    "an answer that is none": ({"rules": [{"id": "x", "seen": "kill", "reason": "r"}]}, "report"),
    "an unknown field": ({"where": {}}, "where"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_at_its_place(name: str) -> None:
    changed, says = WRONG[name]
    found = problems({"charter": "v1"} | changed)
    assert any(says in each and "sharing.yaml" in each for each in found), found


@pytest.mark.parametrize(
    "field", [{"instances": 0}, {"places": []}, {"sharing": "kill"}, {"places": ["Berlin Office"]}]
)
def test_a_charter_says_it_properly_or_not_at_all(field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Credential.model_validate({"type": "private-key-jwt"} | field)


def test_what_a_charter_says_is_kept_with_the_principal() -> None:
    said = Credential.model_validate(
        {"type": "private-key-jwt", "places": ["office", "10.4.0.0/16"], "instances": 2, "sharing": "suspend"}
    )
    terms = terms_of(said)
    assert read_terms(write_terms(terms)) is terms
    assert (terms.usage.places, terms.usage.instances) == (("office", "10.4.0.0/16"), 2)


def test_the_firmest_answer_counts() -> None:
    assert firmest([Sharing.REPORT, Sharing.SUSPEND, Sharing.RESTRAIN]) is Sharing.SUSPEND


PLACED = {
    "203.0.113.9": "office",
    "203.0.113.70": "lab",  # the narrower one
    "::ffff:203.0.113.70": "lab",
    "2001:DB8:77:0::1": "office",
    "10.1.2.3": INSIDE,
    "::1": INSIDE,
    "100.64.9.9": INSIDE,
    "8.8.8.8": "8.8.8.0/24",
    "2a00:1450:4001::1": "2a00:1450:4001::/48",
    "workload api": "workload api",
}


@pytest.mark.parametrize("address", PLACED)
def test_an_address_is_in_the_narrowest_place(address: str) -> None:
    assert Places(FILE["places"]).of(address).name == PLACED[address]


def test_a_host_with_both_kinds_of_address_is_not_in_two_places() -> None:
    places = Places({})
    four, six = places.of("8.8.8.8"), places.of("2a00:1450:4001::1")
    assert not four.is_comparable(six)
    assert four.is_comparable(places.of("9.9.9.9"))
    assert Places(FILE["places"]).of("203.0.113.9").is_comparable(six)


@given(st.ip_addresses())
def test_however_an_address_is_spelled_it_is_in_one_place(address: Any) -> None:
    places = Places(FILE["places"])
    spelt = {str(address), address.exploded, address.exploded.upper()}
    if address.version == 4:
        spelt |= {f"::ffff:{address}", f"::FFFF:{address}", str(ipaddress.ip_address(f"::ffff:{address}"))}
    assert len({places.of(each).name for each in spelt}) == 1


@given(st.text(max_size=80))
def test_whatever_is_written_as_a_place_is_read_or_refused(text: str) -> None:
    try:
        said = Credential.model_validate({"type": "private-key-jwt", "places": [text]})
    except ValidationError:
        return
    (place,) = said.places or ()
    assert not is_network(place) or str(parse_network(place)) == place
