"""Questions of enforcement points, read: what the specification names has its type, and the rest is passed by."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.core.errors import MalformedError
from charter.gateway.evaluation import (
    Evaluation,
    Evaluations,
    Semantic,
    parse_evaluation,
    parse_evaluations,
    parse_search,
)

SUBJECT, ACTION = {"type": "user", "id": "alice"}, {"name": "read"}
RESOURCE = {"type": "record", "id": "r-1"}
WHOLE: dict[str, Any] = {"subject": SUBJECT, "action": ACTION, "resource": RESOURCE}
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(st.text(max_size=6), JSON, max_size=3)
WORD = st.text(min_size=1, max_size=20)
ENTITY = st.fixed_dictionaries({"type": WORD, "id": WORD}, optional={"properties": OBJECT})
DEED = st.fixed_dictionaries({"name": WORD}, optional={"properties": OBJECT})
QUESTION = st.fixed_dictionaries({"subject": ENTITY, "action": DEED, "resource": ENTITY}, optional={"context": OBJECT})


def spelt(value: Any) -> bytes:
    return json.dumps(value).encode()


@given(QUESTION, st.dictionaries(st.text(max_size=9), JSON, max_size=3))
def test_a_question_is_read_as_it_was_sent_whatever_else_stands_beside_it(asked: Any, more: dict[str, Any]) -> None:
    question = parse_evaluation(spelt(more | asked))
    assert question.subject.to_json() == {k: v for k, v in asked["subject"].items() if v or k != "properties"}
    assert question.resource.to_json() == {k: v for k, v in asked["resource"].items() if v or k != "properties"}
    assert question.action.to_json() == {k: v for k, v in asked["action"].items() if v or k != "properties"}
    assert question.context == asked.get("context", more.get("context", {})) or "context" in more


@given(st.lists(QUESTION, min_size=1, max_size=5), QUESTION)
def test_what_an_item_does_not_say_is_the_default_whole(items: list[Any], defaults: dict[str, Any]) -> None:
    """An entity is inherited or replaced as a whole: properties are not merged."""
    bare = [{k: v for k, v in item.items() if index % 2 == 0} for index, item in enumerate(items)]
    found = parse_evaluations(spelt(defaults | {"evaluations": bare}))
    assert isinstance(found, Evaluations)
    expected = [parse_evaluation(spelt(defaults | item)) for item in bare]
    assert list(found.items) == expected


@pytest.mark.parametrize("path", ["subject", "action", "resource", "subject.type", "subject.id", "action.name"])
@pytest.mark.parametrize("value", [None, 1, True, [], "", ...])
def test_a_part_that_is_missing_or_of_another_type_is_told_by_its_name(path: str, value: Any) -> None:
    asked: dict[str, Any] = json.loads(spelt(WHOLE))
    *above, name = path.split(".")
    holder = asked[above[0]] if above else asked
    if value is ...:
        del holder[name]
    else:
        holder[name] = value
    with pytest.raises(MalformedError, match=path.replace(".", r"\.")):
        parse_evaluation(spelt(asked))


@pytest.mark.parametrize("of", ["subject", "action", "resource"])
def test_properties_and_context_are_objects(of: str) -> None:
    for wrong in (None, [], "x", 1):
        with pytest.raises(MalformedError, match=f"{of}.properties"):
            parse_evaluation(spelt(WHOLE | {of: WHOLE[of] | {"properties": wrong}}))
        with pytest.raises(MalformedError, match="context"):
            parse_evaluation(spelt(WHOLE | {"context": wrong}))


def test_several_questions_keep_their_faults_to_themselves() -> None:
    found = parse_evaluations(
        spelt({"subject": SUBJECT, "action": ACTION, "evaluations": [{"resource": RESOURCE}, {}, 5]})
    )
    assert isinstance(found, Evaluations)
    assert [type(each) for each in found.items] == [Evaluation, MalformedError, MalformedError]
    assert found.semantic is Semantic.EXECUTE_ALL


@pytest.mark.parametrize(
    ("looks_for", "left_out"), [("subject", "subject"), ("resource", "resource"), ("action", "action")]
)
def test_what_is_looked_for_needs_no_id_and_all_else_does(looks_for: str, left_out: str) -> None:
    asked: dict[str, Any] = json.loads(spelt(WHOLE))
    if looks_for == "action":
        del asked["action"]
    else:
        del asked[looks_for]["id"]
    found = parse_search(spelt(asked), looks_for)
    with_id = parse_search(spelt(WHOLE), looks_for)
    assert found.to_json() == with_id.to_json()
    assert left_out in ("subject", "resource", "action")
    for name in {"subject", "resource"} - {looks_for}:
        broken = json.loads(spelt(asked))
        del broken[name]["id"]
        with pytest.raises(MalformedError, match=f"{name}.id"):
            parse_search(spelt(broken), looks_for)


@pytest.mark.parametrize("page", [[], {"limit": -1}, {"limit": 1.5}, {"limit": True}, {"token": 5}, {"limit": "1"}])
def test_a_page_is_of_its_form(page: Any) -> None:
    with pytest.raises(MalformedError, match="page"):
        parse_search(spelt(WHOLE | {"page": page}), "action")


def test_a_renewed_token_leaves_a_search_the_same() -> None:
    one, two = (parse_search(spelt(WHOLE | {"context": {"access_token": t, "a": 1}}), "action") for t in ("x", "y"))
    assert one.to_json() == two.to_json()
