"""What stands apart of an entry: taken out of its body, named, and put back."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from charter.core.canonical import canonical
from charter.evidence.charter_verify import APART, commitment_of
from charter.evidence.payload import ERASED, FIELDS, MAX_FIELDS, opening_of, set_apart, whole

texts = st.text("ab", max_size=2)
reasons = st.lists(
    st.dictionaries(st.sampled_from(["text", "mend", "rule"]), texts | st.none(), max_size=3), max_size=4
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "object": texts | st.none() | st.integers(0, 3) | st.booleans(),
        "call_digest": texts,
        "asked": st.dictionaries(st.sampled_from(["arguments", "tool"]), st.dictionaries(texts, texts, max_size=2))
        | texts,
        "chain": st.fixed_dictionaries({"purpose": texts}, optional={"initiator": texts}) | st.none(),
        "reasons": reasons | st.lists(texts, max_size=2),
        "system": texts,
    },
)


def salt(nbytes: int) -> bytes:
    return b"s" * nbytes


def values_at(value: Any, path: tuple[str, ...], at: str = "") -> dict[str, Any]:
    """Return what stands at `path`, by place: the plain way to say what a path means."""
    if not path:
        return {at: value}
    if path[0] == "*":
        many = enumerate(value) if isinstance(value, list) else ()
        return {k: v for n, each in many for k, v in values_at(each, path[1:], f"{at}/{n}").items()}
    if not isinstance(value, dict) or path[0] not in value:
        return {}
    return values_at(value[path[0]], path[1:], f"{at}/{path[0]}")


@given(bodies)
def test_what_the_paths_name_stands_apart_and_nothing_else(body: dict[str, Any]) -> None:
    before = copy.deepcopy(body)
    named = {k: v for path in FIELDS["verdict"] for k, v in values_at(body, path).items()}
    meant = {k: v for k, v in named.items() if isinstance(v, str | dict | list) and v}

    parted = set_apart("verdict", body, salt)

    assert body == before
    if not meant:
        assert parted is None
        return
    assert parted is not None
    left, said, apart = parted
    assert apart.payload == canonical(meant)
    assert said == {
        "fields": sorted(meant), "commitment": commitment_of(opening_of(apart.salt), apart.payload),
    }  # fmt: skip
    for path in FIELDS["verdict"]:
        for place, value in values_at(left, path).items():
            assert value == ((APART if isinstance(meant[place], str) else type(meant[place])()) if place in meant
                             else named[place])  # fmt: skip
    entry = {"apart": said, "body": copy.deepcopy(left)}
    assert whole(entry, apart.payload)["body"] == body


def test_what_is_gone_is_told_by_its_texts() -> None:
    parted = set_apart("verdict", {"object": "charge/1", "asked": {"arguments": {"to": "ann"}}}, salt)
    assert parted is not None
    left, said, _apart = parted

    found = whole({"apart": said, "body": copy.deepcopy(left)}, None)

    assert found["body"] == {"object": ERASED, "asked": {"arguments": {}}}


def test_no_more_fields_stand_apart_than_an_entry_may_name() -> None:
    parted = set_apart("verdict", {"reasons": [{"text": f"t{n}"} for n in range(MAX_FIELDS + 9)]}, salt)
    assert parted is not None
    left, said, _apart = parted

    assert len(said["fields"]) == MAX_FIELDS
    assert [each["text"] for each in left["reasons"][MAX_FIELDS:]] == [
        f"t{n}" for n in range(MAX_FIELDS, MAX_FIELDS + 9)
    ]


def test_a_kind_of_which_nothing_is_personal_has_nothing_apart() -> None:
    assert set_apart("charter.applied", {"object": "x", "reason": "y"}, salt) is None
