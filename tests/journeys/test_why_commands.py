"""`charter why` and `charter what-if` at the terminal: without a server, with one, and by files alone."""

from __future__ import annotations

import pytest

from terminal import Terminal

CALL = ("refund-agent", "payments", "refund.create", "charge_id=ch_1", "currency=EUR")
NOON = ("--at", "2026-11-24T10:00Z")


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    """A terminal in a starter estate that was applied."""
    root = Terminal.at(tmp_path_factory.mktemp("why"))
    root.charter("init", "estate")
    inside = root.inside("estate")
    inside.charter("apply", "--yes", "--reason", "the first charters")
    return inside


def test_a_supposed_call_is_explained_by_the_files_with_each_condition(terminal: Terminal) -> None:
    told = terminal.ask("why", *CALL, "amount=150", *NOON, "--files")
    assert told["verdict"] == "escalate"
    assert "payments-lead" in told["sentence"]
    assert told["approvers"] == ["payments-lead"]
    grant = next(rule for rule in told["rules"] if rule["decided"])
    assert {"condition": "`amount` up to 200 EUR", "met": True, "given": "this call asks 150 EUR"} in grant[
        "conditions"
    ]

    allowed = terminal.ask("why", *CALL, "amount=150", *NOON, "--approved", "payments-lead", "--files")
    assert allowed["verdict"] == "allow"
    assert [each["limit"] for each in allowed["limits"]]
    denied = terminal.ask("why", *CALL, "amount=900", *NOON, "--files", expect=1)
    assert "up to 200 EUR; this call asks 900 EUR" in denied["sentence"]
    assert "principals/refund-agent.yaml:" in denied["sentence"]
    assert denied["mend"]


@pytest.mark.slow
def test_what_is_registered_is_asked_with_what_stops_a_call_before_policy(terminal: Terminal) -> None:
    """The starter's tools were never imported: the gateway would hold this call, and the rules tell what comes next."""
    told = terminal.ask("why", *CALL, "amount=900", *NOON, expect=1)
    assert told["reasons"][0]["rule"] == "built-in/pinned-tools"
    missed = {"condition": "`amount` up to 200 EUR", "met": False, "given": "this call asks 900 EUR"}
    assert any(missed in rule["conditions"] for rule in told["rules"])
    said = terminal.say("why", *CALL, "amount=900", *NOON, expect=1)
    assert "NO   `amount` up to 200 EUR; this call asks 900 EUR" in said
    assert "→ look at it and accept it: charter systems import payments" in said


def test_a_chain_is_supposed_with_who_began_it(terminal: Terminal) -> None:
    chain = ("--for", "invoice-workflow", "--purpose", "dispute-handling")
    told = terminal.ask("why", *CALL, "amount=50", *NOON, *chain, "--files", expect=1)
    assert told["lacking"] == "invoice-workflow"
    refused = terminal.refused("why", *CALL, "--purpose", "dispute-handling", expect=2)
    assert "who began it" in refused["detail"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("refund-agent", "payments"), 2),
        (("refund-agnt", "payments", "charge.read"), 4),
        (("refund-agent", "payments", "charge.reed"), 4),
        (("refund-agent", "payments", "charge.read", "amount"), 2),
        (("refund-agent", "payments", "charge.read", "--arguments", "[1]"), 2),
        (("refund-agent", "payments", "charge.read", "--at", "yesterday"), 2),
        (("vrd_0000",), 4),
        (("4711000",), 4),
        (("not-a-verdict",), 2),
    ],
)
def test_what_cannot_be_asked_is_told(terminal: Terminal, words: tuple[str, ...], code: int) -> None:
    terminal.refused("why", *words, expect=code)


@pytest.mark.slow
def test_what_if_without_any_calls_says_so_and_its_words_are_checked(terminal: Terminal) -> None:
    told = terminal.ask("what-if", "--since", "7d")
    assert (told["replayed"], told["changes"]) == (0, [])
    assert "0 of 0 calls decided again" in terminal.say("what-if")
    assert "nothing to fail on" in terminal.refused("what-if", "--fail-on", "allwed", expect=2)["detail"]
    terminal.refused("what-if", "--since", "someday", expect=2)
    terminal.refused("what-if", "--principal", "nobody", expect=4)


def test_the_same_questions_are_answered_by_a_running_server(terminal: Terminal) -> None:
    with terminal.up():
        denied = terminal.ask("why", *CALL, "amount=900", *NOON, expect=1)
        assert denied["reasons"][0]["rule"] == "built-in/pinned-tools"
        assert terminal.ask("what-if")["changes"] == []
        wrong = terminal.folder / "principals" / "refund-agent.yaml"
        whole = wrong.read_text(encoding="utf-8")
        wrong.write_text(whole.replace("kind: agent", "kind: agnet"), encoding="utf-8")
        try:
            assert "did you mean `agent`" in str(terminal.refused("what-if", expect=2))
        finally:
            wrong.write_text(whole, encoding="utf-8")
