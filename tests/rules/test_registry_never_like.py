"""Objects that no action of a grant has are told of when files are checked, and nothing else is."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import a_system
from charter.core.errors import MalformedError
from charter.policy.object_path import fill_template, placeholders
from charter.registry.grant import Grant
from charter.registry.never_like import could_be, never_like

ACTIONS = {
    "search": {"tool": "search", "effect": "read", "object": "tickets"},
    "read": {"tool": "get", "effect": "read", "object": "ticket/{queue}/{id}"},
    "page": {"tool": "page", "effect": "read", "object": "page/{path}"},
    "free": {"tool": "free", "effect": "read"},
}
GROUPS = {"team": {"objects": ["ticket/team/*"]}, "odd": {"under": ["tickets/odd"]}}


def told(actions: list[str], **named: list[str]) -> list[tuple[str, str]]:
    system = a_system(actions=ACTIONS, groups=GROUPS)
    grant = Grant.model_validate({"system": "payments", "actions": actions} | named)
    return [(each.path, each.text) for each in never_like(grant, system)]


@pytest.mark.parametrize(
    ("actions", "named"),
    [
        (["read"], {}),
        (["read"], {"objects": ["ticket/*"]}),
        (["read"], {"objects": ["*/7"]}),
        (["read", "search"], {"objects": ["tickets", "ticket/team/*"]}),
        (["read"], {"under": ["ticket/team"]}),
        (["read"], {"under": ["ticket/team/7"]}),
        (["read"], {"groups": ["team"]}),
        (["page"], {"objects": ["page/handbook/refunds"]}),
        (["free"], {"objects": ["whatever/it/is"]}),
        (["*"], {"objects": ["tickets"]}),
    ],
)
def test_what_an_action_can_have_is_passed_over(actions: list[str], named: dict[str, list[str]]) -> None:
    assert told(actions, **named) == []


@pytest.mark.parametrize(
    ("actions", "named", "path"),
    [
        (["read"], {"objects": ["tickets/*"]}, "objects.0"),
        (["read"], {"objects": ["Ticket/*"]}, "objects.0"),
        (["read"], {"objects": ["ticket/team"]}, "objects.0"),
        (["read"], {"objects": ["ticket/team/*", "queue/team/*"]}, "objects.1"),
        (["read"], {"objects": ["ticket/../x/*"]}, "objects.0"),
        (["read"], {"objects": ["ticket//*/a"]}, "objects.0"),
        (["read"], {"under": ["queue/team"]}, "under.0"),
        (["read"], {"groups": ["odd"]}, "groups.0"),
        (["search"], {"objects": ["tickets/*"]}, "objects.0"),
        (["read", "search"], {"objects": ["ticket/team/*"]}, "actions.1"),
    ],
)
def test_what_no_action_can_have_is_told_at_its_place(
    actions: list[str], named: dict[str, list[str]], path: str
) -> None:
    assert [where for where, _ in told(actions, **named)] == [path]


def test_the_objects_that_there_are_are_named() -> None:
    system = a_system(actions=ACTIONS)
    grant = Grant.model_validate({"system": "payments", "actions": ["read"], "objects": ["tickets/*"]})
    (found,) = never_like(grant, system)
    assert found.text == "no object of `read` is like `tickets/*`, so it lets nothing by"
    assert found.help == "theirs are `ticket/{queue}/{id}`"


def test_what_enforcement_points_name_is_not_judged() -> None:
    system = a_system(actions=ACTIONS, upstream=None, kind="http", enforcement={"points": ["gate"]})
    grant = Grant.model_validate({"system": "payments", "actions": ["read"], "objects": ["anything"]})
    assert list(never_like(grant, system)) == []


PIECE = st.sampled_from(["a", "ab", "b", "/", "{x}", "{y}", "{z}"])
VALUE = st.text("ab/", min_size=1, max_size=5)


@given(
    st.lists(PIECE, min_size=1, max_size=6).map("".join),
    st.text("ab/*", min_size=1, max_size=8),
    st.lists(VALUE, min_size=3, max_size=3),
)
def test_no_pattern_is_told_of_that_an_object_is_like(template: str, pattern: str, values: list[str]) -> None:
    """INVARIANT: what is told lets nothing by, whatever arguments a call has."""
    names = placeholders(template)
    try:
        made = fill_template(template, dict(zip(names, values, strict=False)))
    except MalformedError:
        return
    if fnmatch.fnmatchcase(made, pattern):
        assert could_be(template, pattern)
