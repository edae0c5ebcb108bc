"""Hypothesis strategies for charters: any that the model takes, in the shape of a file's value."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from charter.registry.charter import DAYS, CredentialType, Environment, Kind, Per


def a_credential(kind: CredentialType) -> dict[str, str]:
    """Return a credential of a type, with what that type cannot be without."""
    more = {"client": "https://client.example.com/metadata.json"} if kind is CredentialType.PUBLIC_CLIENT else {}
    return {"type": kind.value} | more


names = st.from_regex(r"[a-z][a-z0-9]{0,6}(-[a-z0-9]{1,4})?", fullmatch=True)
texts = st.text(
    alphabet=st.characters(codec="utf-8", exclude_categories=("C", "Z"), include_characters=" "),
    min_size=1,
    max_size=30,
)
emails = names.map(lambda name: f"{name}@example.com")
units = st.sampled_from([None, "EUR", "MB", "%"])
actions = st.from_regex(r"[a-z]{1,6}(\.[a-z]{1,6})?", fullmatch=True)
days = st.dates().map(lambda day: day.isoformat())
durations = st.builds("{}{}".format, st.integers(1, 999_999), st.sampled_from("smhdw"))


@st.composite
def quantities(draw: st.DrawFn, unit: str | None = None) -> str:
    whole, places = draw(st.integers(-999_999_999_999, 999_999_999_999)), draw(st.integers(0, 4))
    digits = f"{whole}.{draw(st.integers(0, 10**places - 1)):0{places}d}" if places else str(whole)
    return f"{digits} {unit}" if unit else digits


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    unit = draw(units)
    scalars = st.one_of(texts, st.integers(-1000, 1000), st.booleans())
    fields = {
        "max": quantities(unit),
        "over": quantities(unit),
        "equals": scalars,
        "one_of": st.lists(scalars, min_size=1, max_size=3),
        "like": texts,
    }
    return draw(st.fixed_dictionaries({}, optional=fields).filter(bool))


@st.composite
def windows(draw: st.DrawFn) -> str:
    start, end = draw(st.integers(0, 1439)), draw(st.integers(0, 1440))
    end = end if end != start else (start + 1)
    return (
        f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02} {draw(st.sampled_from(['UTC', 'Asia/Tokyo']))}"
    )


def _lists(of: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[list[Any]]:
    return st.lists(of, min_size=1, max_size=most)


arguments = st.dictionaries(
    st.sampled_from(["amount", "hours", "days", "arguments", "to", "größe"]), conditions(), max_size=3
)
whens = st.one_of(
    st.fixed_dictionaries(
        {}, optional={"hours": windows(), "days": _lists(st.sampled_from(DAYS)), "amount": conditions()}
    ),
    st.fixed_dictionaries({"arguments": arguments}, optional={"hours": windows(), "days": st.just("mon-fri")}),
)
limits = st.one_of(
    st.fixed_dictionaries({"count": st.integers(1, 1000), "per": st.sampled_from([p.value for p in Per])}),
    st.fixed_dictionaries({"sum": st.just("amount"), "max": quantities("EUR"), "per": st.just("day")}),
)
grants = st.fixed_dictionaries(
    {"system": names, "actions": st.one_of(_lists(actions), st.just(["*"]))},
    optional={
        "objects": _lists(texts),
        "when": whens,
        "limit": st.lists(limits, max_size=2),
        "approval": st.fixed_dictionaries({"by": names}, optional={"when": st.just({"amount": {"over": "5 EUR"}})}),
    },
)
charters: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "charter": st.just("v1"),
        "principal": names,
        "kind": st.sampled_from([kind.value for kind in Kind]),
        "environment": st.sampled_from([environment.value for environment in Environment]),
        "owner": st.fixed_dictionaries({"person": emails, "team": names}),
        "purpose": texts,
        "model": st.fixed_dictionaries({"provider": names, "name": texts}),
        "approved": st.fixed_dictionaries({"by": emails, "role": names, "on": days}),
        "credential": st.sampled_from([*CredentialType]).map(a_credential),
        "review": durations,
        "expires": days,
    },
    optional={
        "data": st.lists(names, max_size=3),
        "grants": st.lists(grants, max_size=3),
        "delegation": st.fixed_dictionaries({"from": _lists(names)}, optional={"max_ttl": durations}),
    },
)
