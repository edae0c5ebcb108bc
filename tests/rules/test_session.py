"""Sessions read back from the log, as graphs, and drawn: whatever names hold."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.reports.session import EdgeKind, Graph, graph_of, read_session, read_sessions
from charter.reports.session_drawing import MAX_DRAWN, MAX_ROWS, to_dot, to_mermaid, to_svg

SESSION = "ses_" + "0" * 24
AT = "2026-11-24T09:30:00.000000Z"


DOUBTS = {"exposed": True, "untrusted": ["to"], "unseen": ["amount"], "pointed": ["account"]}


def verdict(number: int, tool: str = "read", **more: Any) -> dict[str, Any]:
    flow = more.pop("flow", {})
    parents = {"parents": more.pop("parents")} if "parents" in more else {}
    body = {
        "verdict_id": f"vrd_{number}",
        "verdict": "allow",
        "principal": "assistant",
        "system": "mail",
        "tool": tool,
        "action": tool,
        "object": "*",
        "effect": "read",
        "reasons": [{"text": "because"}],
        "asked": {"flow": flow},
        "sequence": {"session": SESSION, "run": "ticket-7", "since": AT, "step": number} | parents,
    }
    return _entry("verdict", number * 10, body | more)


def outcome(number: int, origin: str = "trusted", **more: Any) -> dict[str, Any]:
    body = {"verdict_id": f"vrd_{number}", "outcome": "ok", "labels": {"origin": origin, "data": ["customer-pii"]}}
    return _entry("outcome", number * 10 + 2, body | more)


def changed(number: int, *, exposed: bool, data: tuple[str, ...] = ()) -> dict[str, Any]:
    added = {"exposed": exposed, "data": list(data)}
    return _entry(
        "context.changed", number * 10 + 1, {"verdict_id": f"vrd_{number}", "session": SESSION, "added": added}
    )


def _entry(kind: str, index: int, body: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "time": AT, "kind": kind, "principal": "prn_1", "actor": "prn_1", "body": body}


LED_ASTRAY = [
    verdict(1, "ask", flow={"known": True}, model={"provider": "openai", "name": "small-1"}),
    verdict(2, "read", parents=[{"verdict": "vrd_1", "known_by": "proposal"}]),
    changed(2, exposed=True, data=("customer-pii",)),
    outcome(2, "untrusted"),
    verdict(3, "find"),
    outcome(3),
    verdict(
        4,
        "send",
        verdict="escalate",
        flow={"exposed": True, "untrusted": ["to"], "unseen": ["amount"], "pointed": ["account"]},
    ),
]


def graph() -> Graph:
    session = read_session(SESSION, LED_ASTRAY)
    assert session is not None
    return graph_of(session)


def test_a_session_is_read_with_what_it_has_read() -> None:
    session = read_session(SESSION, reversed(LED_ASTRAY))
    assert session is not None
    told = session.summary()

    assert (told["steps"], told["exposed"], told["data"], told["run"]) == (4, True, ["customer-pii"], "ticket-7")
    assert told["verdicts"] == {"allow": 3, "deny": 0, "escalate": 1}
    assert [each.number for each in session.steps] == [1, 2, 3, 4]
    assert read_session("ses_" + "1" * 24, LED_ASTRAY) is None


def test_the_graph_says_which_result_a_value_came_from() -> None:
    values = [(e.source, e.target, e.label) for e in graph().edges if e.kind is EdgeKind.VALUES]
    proposed = [(e.source, e.target) for e in graph().edges if e.kind is EdgeKind.PROPOSED]

    assert values == [("vrd_2", "vrd_4", "account, to"), ("nowhere", "vrd_4", "amount")]
    assert proposed == [("vrd_1", "vrd_2")]
    assert [(e.source, e.target) for e in graph().edges if e.kind is EdgeKind.ASKED] == [("person", "vrd_1")]


def test_where_several_results_can_be_it_each_is_shown_as_one_of_them() -> None:
    entries = [verdict(1), outcome(1, "untrusted"), verdict(2), outcome(2, "untrusted")]
    session = read_session(SESSION, [*entries, verdict(3, "send", flow={"carried": ["body"]})])
    assert session is not None

    assert [(e.source, e.label) for e in graph_of(session).edges if e.kind is EdgeKind.VALUES] == [
        ("vrd_1", "body (one of these)"),
        ("vrd_2", "body (one of these)"),
    ]


def test_a_parent_of_another_session_stands_outside() -> None:
    lent = [{"session": "ses_" + "9" * 24, "known_by": "delegation"}]
    session = read_session(SESSION, [verdict(1, parents=lent)])
    assert session is not None
    found = graph_of(session)

    assert [(n.kind, n.label) for n in found.nodes] == [("outside", "the lender's doing"), ("call", "mail/read")]
    assert found.edges[0].kind is EdgeKind.LENT


def test_sessions_are_told_apart_and_the_one_used_last_is_first() -> None:
    other = verdict(5)
    other["body"]["sequence"] = {"session": "ses_" + "1" * 24, "step": 1}
    old = verdict(6)
    del old["body"]["sequence"]  # from before sessions were told

    found = read_sessions([*LED_ASTRAY, other, old])
    assert [(each.id, len(each.steps)) for each in found] == [("ses_" + "1" * 24, 1), (SESSION, 4)]


# --- drawn, whatever names hold ---------------------------------------------------------------------------------------

HOSTILE = (
    '"];}digraph x{a->b[label="',
    '"]:::x; click n0 "javascript:alert(1)"\nn0-->n1',
    "<script>alert(1)</script>&amp;]]>--><!--",
    '" onload="alert(1)',
    "\u202e\x1b[2J\x00\ud800\ufffe\ufffd",
    "\\",
    "A" * 20_000,
)
texts = st.text(st.characters(codec=None), max_size=40) | st.sampled_from(HOSTILE)


@given(texts, texts, texts)
def test_a_hostile_name_stays_a_label(system: str, thing: str, argument: str) -> None:
    read = {"untrusted": [argument], "exposed": True}
    entries = [verdict(1, system=system, object=thing), outcome(1, "untrusted"), verdict(2, system=system, flow=read)]
    session = read_session(SESSION, entries)
    assert session is not None
    found = graph_of(session)

    root = ET.fromstring(to_svg(found, links={"vrd_1": "/verdicts/vrd_1"}))  # noqa: S314 - our own
    tags = {each.tag.rpartition("}")[2] for each in root.iter()}
    assert tags <= {"svg", "title", "desc", "style", "rect", "path", "g", "text", "a"}
    names = {name for each in root.iter() for name in each.attrib}
    assert not [name for name in names if name.startswith("on")]
    assert all(href == "/verdicts/vrd_1" for each in root.iter() if (href := each.get("href")))
    for line in to_dot(found).splitlines()[1:-1]:
        assert re.fullmatch(r'  (?:label|node|n\d+(?: -> n\d+)?)[ =](?:\[?(?:[^"\\]|"(?:[^"\\]|\\.)*")*\]?);', line), (
            line
        )
    for line in to_mermaid(found).splitlines()[1:]:
        assert re.fullmatch(r'  n\d+(?:\["[^"<>\[\]]*"\]| [-=.]+>(?:\|"[^"<>|]*"\|)? n\d+)', line), line


def test_the_drawing_is_named_and_told_to_those_who_do_not_see_it() -> None:
    root = ET.fromstring(to_svg(graph()))  # noqa: S314 - our own
    space = "{http://www.w3.org/2000/svg}"

    assert root.get("role") == "img"
    title, told = root.find(f"{space}title"), root.find(f"{space}desc")
    assert title is not None
    assert told is not None
    assert title.get("id") in str(root.get("aria-labelledby"))
    assert "to: from 2. mail/read (allow) into 4. mail/send (escalate)" in str(told.text)


def test_a_very_long_session_is_drawn_as_far_as_there_is_room() -> None:
    session = read_session(SESSION, [verdict(number) for number in range(1, MAX_DRAWN + 50)])
    assert session is not None

    assert "and 49 more" in to_svg(graph_of(session))


def test_a_long_session_by_itself_has_columns_and_says_from_which_step_of_another_a_value_came() -> None:
    steps = [entry for number in range(3, MAX_ROWS + 2) for entry in (verdict(number), outcome(number))]
    first = [verdict(1), verdict(2), outcome(2, "untrusted")]
    session = read_session(SESSION, [*first, *steps, verdict(MAX_ROWS + 2, "send", flow={"carried": ["to"]})])
    assert session is not None
    one, two = (ET.fromstring(to_svg(graph_of(session), alone=alone)) for alone in (False, True))  # noqa: S314 - our own

    assert int(two.get("height", "")) < int(one.get("height", "")) / 1.8
    assert "to ← step 2" in "".join(two.itertext())
    assert "to ← step 2" not in "".join(one.itertext())  # there an arc shows it


def test_what_has_no_room_beside_a_box_is_counted() -> None:
    read = [entry for number in range(1, 7) for entry in (verdict(number), outcome(number, "untrusted"))]
    session = read_session(SESSION, [*read, verdict(7, "send", flow={"carried": ["to"]})])
    assert session is not None
    drawn = "".join(ET.fromstring(to_svg(graph_of(session))).itertext())  # noqa: S314 - our own

    assert "and 4 more" in drawn


@pytest.mark.parametrize("alone", [True, False])
def test_styles_stand_in_the_drawing_only_where_no_page_has_them(alone: bool) -> None:
    drawn = to_svg(graph(), alone=alone)
    assert ("<style>" in drawn) is alone
    assert "style=" not in drawn
