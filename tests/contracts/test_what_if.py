"""Recorded calls decided again: by what held then, by what is registered, by files that are not applied."""

from __future__ import annotations

import asyncio
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from charter.bootstrap import authority, what_if, why
from charter.core.errors import AbsentError, MalformedError
from charter.gateway.hypothetical import Supposed, SupposedChain
from charter.registry.standing import Move
from houses import Stage, a_house, estate_files

READ = {"charge_id": "ch_1"}
READING = {"system": "payments", "actions": ["charge.read"]}
REFUND = {"system": "payments", "actions": ["refund.create"], "objects": ["charge/*"]}


def refund(amount: object, **more: object) -> dict[str, object]:
    return {"charge_id": "ch_1", "amount": amount, "currency": "EUR"} | more


def a_grant(**more: object) -> dict[str, object]:
    return REFUND | more


def a_call(stage: Stage, amount: int) -> Supposed:
    return Supposed("refund-agent", "payments", "refund.create", stage.clock.now(), refund(amount))


def compared(stage: Stage, files: dict[str, str], **wanted: str) -> dict[str, Any]:
    return list(what_if.compare(stage.house, files, {"since": "30d"} | wanted))[-1]


def verdicts(stage: Stage) -> list[dict[str, Any]]:
    return stage.entries("verdict")


def traffic(stage: Stage, calls: int = 120) -> None:
    """Make calls of every kind: reads, refunds below and above each bound, odd units, unknown tools, held tools."""
    amounts = cycle([1, 40, "75.50", 99, 100, 101, 150, 199.99, 200, 201, 5000, "much", None, -5, True])
    charges = cycle(["ch_1", "ch_2", "x/../y", "", "ch_3"])
    tools = cycle(["create_refund", "get_charge", "create_refund", "drop_everything"])
    units = cycle(["EUR", "EUR", "USD", "EUR", "eur", 7])
    names = cycle(["refund-agent", "refund-agent", "charge-reader"])
    for number in range(calls):
        stage.clock.advance(minutes=7)
        arguments = {"charge_id": next(charges), "amount": next(amounts), "currency": next(units)}
        pin = {} if number % 17 else {"pin": "sha256:" + "2" * 64}
        stage.submit(stage.bearer(next(names)), stage.make(next(tools), arguments, **pin))


# --- an estate that did not change ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limit",
    [
        [],
        [{"count": 9, "per": "day"}],
        [{"sum": "amount", "max": "600 EUR", "per": "hour"}, {"count": 2, "within": "20m"}],
    ],
)
def test_an_unchanged_estate_changes_no_verdict(tmp_path: Path, limit: list[object]) -> None:
    approval = {"when": {"amount": {"over": "100 EUR"}}, "by": "payments-lead"}
    hours = {"hours": "08:00-18:00 Europe/Berlin", "amount": {"max": "200 EUR"}}
    files = estate_files(grants=[a_grant(when=hours, limit=limit, approval=approval), READING])
    with a_house(tmp_path, files=files) as stage:
        traffic(stage)
        found = compared(stage, files)
        words = {each["body"]["verdict"] for each in verdicts(stage)}

    assert words == {"allow", "deny", "escalate"}
    assert found["changes"] == []
    assert found["replayed"] == found["same"] > 60
    assert set(found["aside"]) <= {"built-in/arguments"}
    assert found["untold"] == []


def test_what_held_then_explains_every_verdict_of_generated_traffic(tmp_path: Path) -> None:
    files = estate_files(grants=[a_grant(when={"amount": {"max": "200 EUR"}}), READING])
    with a_house(tmp_path, files=files) as stage:
        traffic(stage, 40)
        stage.apply(
            files | {"principals/refund-agent.yaml": estate_files(grants=[a_grant()])["principals/refund-agent.yaml"]}
        )
        traffic(stage, 20)
        told = [why.recorded(stage.house, str(each["index"])) for each in verdicts(stage)]

    assert {each["agrees"] for each in told} == {True, None}
    assert sum(each["agrees"] is True for each in told) > 20
    assert all(each["replayed"] is None for each in told if each["agrees"] is None)


# --- an estate that changed -------------------------------------------------------------------------------------------


def test_a_narrower_bound_lists_each_call_that_it_would_deny(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        for amount in (50, 150, 90):
            stage.submit(stage.bearer(), stage.make("create_refund", refund(amount)))
        narrower = estate_files(grants=[a_grant(when={"amount": {"max": "60 EUR"}}), READING])
        found = compared(stage, narrower)

    assert {(c["was"], c["would_be"], c["count"], c["cause"]) for c in found["changes"]} == {
        ("allow", "deny", 1, "these files"),
        ("escalate", "deny", 1, "these files"),
    }
    assert found["counts"] == {"newly_denied": 2, "newly_held": 0, "newly_allowed": 0, "already_changed": 0}
    assert {c["rule"] for c in found["changes"]} == {"refund-agent/grant-1"}
    assert any("up to 60 EUR; this call asks 90 EUR" in c["text"] for c in found["changes"])


def test_an_approval_taken_away_lists_what_would_be_allowed_at_once(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        stage.submit(stage.bearer(), stage.make("create_refund", refund(150)))
        free = estate_files(grants=[a_grant(when={"amount": {"max": "200 EUR"}})])
        found = compared(stage, free)

    assert [(c["was"], c["would_be"]) for c in found["changes"]] == [("escalate", "allow")]
    assert found["counts"]["newly_allowed"] == 1


def test_a_change_that_was_applied_since_is_not_blamed_on_the_files(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        stage.submit(stage.bearer(), stage.make("create_refund", refund(90)))
        narrower = estate_files(grants=[a_grant(when={"amount": {"max": "60 EUR"}})])
        stage.apply(narrower)
        found = compared(stage, narrower)

    assert [(c["was"], c["would_be"], c["cause"]) for c in found["changes"]] == [
        ("allow", "deny", "what was applied since")
    ]
    assert found["counts"] == {"newly_denied": 0, "newly_held": 0, "newly_allowed": 0, "already_changed": 1}


def test_a_new_guardrail_and_a_withdrawn_principal_are_found(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        stage.submit(stage.bearer(), stage.make("create_refund", refund(50)))
        stage.submit(stage.bearer("charge-reader"), stage.make("get_charge", READ))
        guard = 'forbid (principal, action == Charter::Action::"payments/refund.create", resource);'
        files = estate_files() | {"guardrails/no-refunds.cedar": guard}
        del files["principals/charge-reader.yaml"]
        found = compared(stage, files)

    assert {(c["principal"], c["rule"]) for c in found["changes"]} == {
        ("refund-agent", "guardrail/no-refunds-1"),
        ("charge-reader", "built-in/standing"),
    }


def test_a_limit_is_counted_over_the_recorded_calls_in_their_order(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        for charge in ("ch_1", "ch_2", "ch_3"):
            stage.submit(stage.bearer(), stage.make("get_charge", {"charge_id": charge}))
        reading = {"system": "payments", "actions": ["charge.read"], "limit": [{"count": 2, "per": "day"}]}
        found = compared(stage, estate_files(grants=[reading]), principal="refund-agent")

    (change,) = found["changes"]
    assert (change["was"], change["would_be"], change["example"]["object"]) == ("allow", "deny", "charge/ch_3")
    assert change["rule"] == "refund-agent/grant-1/limit-1"


def test_calls_before_the_period_fill_limits_and_are_not_listed(tmp_path: Path) -> None:
    reading = {"system": "payments", "actions": ["charge.read"], "limit": [{"count": 2, "per": "week"}]}
    with a_house(tmp_path) as stage:
        for _ in range(2):
            stage.submit(stage.bearer(), stage.make("get_charge", READ))
        stage.clock.advance(days=2)
        stage.submit(stage.bearer(), stage.make("get_charge", READ))
        found = compared(stage, estate_files(grants=[reading]), since="1d")

    assert found["replayed"] == 1
    assert [(c["would_be"], c["count"]) for c in found["changes"]] == [("deny", 1)]


def test_filters_leave_others_out(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        stage.submit(stage.bearer(), stage.make("get_charge", READ))
        stage.submit(stage.bearer("charge-reader"), stage.make("get_charge", READ))

        assert compared(stage, estate_files(), principal="charge-reader")["replayed"] == 1
        assert compared(stage, estate_files(), system="mail")["replayed"] == 0
        with pytest.raises(AbsentError):
            compared(stage, estate_files(), principal="nobody")
        with pytest.raises(MalformedError):
            compared(stage, estate_files(), since="yesterday")


# --- what is not recorded ---------------------------------------------------------------------------------------------

ONE_OF = {"reason": {"one_of": ["duplicate", "fraud"]}}


def test_a_text_is_never_kept_and_what_was_decided_tells_of_it(tmp_path: Path) -> None:
    """A reason that was allowed is one of the two: so a bound that keeps both, and more, allows it still."""
    files = estate_files(grants=[a_grant(when=ONE_OF)])
    with a_house(tmp_path, files=files) as stage:
        stage.submit(stage.bearer(), stage.make("create_refund", refund(50, reason="duplicate")))
        stage.submit(stage.bearer(), stage.make("create_refund", refund(50, reason="none of yours")))
        kept = str([each["body"]["asked"] for each in stage.entries("verdict")])
        same = compared(stage, files)
        wider = compared(
            stage, estate_files(grants=[a_grant(when={"reason": {"one_of": ["duplicate", "fraud", "x"]}})])
        )
        told = why.recorded(stage.house, str(stage.entries("verdict")[0]["index"]))

    assert "none of yours" not in kept
    assert "duplicate" not in kept
    assert (same["same"], same["inferred"], same["changes"]) == (2, 2, [])
    assert wider["same"] == 1  # the allowed one; of the other nobody can say whether it was `x`
    assert [each["count"] for each in wider["untold"]] == [1]
    assert "text of `reason`" in wider["untold"][0]["why"]
    assert told["agrees"] is True
    assert "stand-in" in told["notes"][0]


def test_a_bound_on_an_argument_that_nobody_recorded_is_not_told(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        stage.submit(stage.bearer(), stage.make("create_refund", refund(50, reason="duplicate")))
        found = compared(stage, estate_files(grants=[a_grant(when=ONE_OF)]))

    assert found["replayed"] == 0
    assert "`reason`, of which nothing was recorded" in found["untold"][0]["why"]


def test_a_call_that_is_denied_whatever_its_unknown_arguments_are_is_told(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        stage.submit(stage.bearer(), stage.make("create_refund", refund(50)))
        guard = 'forbid (principal, action == Charter::Action::"payments/refund.create", resource);'
        files = estate_files(grants=[a_grant(when=ONE_OF)]) | {"guardrails/no-refunds.cedar": guard}
        found = compared(stage, files)

    assert [(c["would_be"], c["rule"]) for c in found["changes"]] == [("deny", "guardrail/no-refunds-1")]


def test_a_changed_tool_definition_holds_the_recorded_call(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        stage.submit(stage.bearer(), stage.make("get_charge", READ))
        files = {path: text.replace("1" * 64, "3" * 64) for path, text in estate_files().items()}
        found = compared(stage, files)

    assert [(c["would_be"], c["rule"]) for c in found["changes"]] == [("deny", "built-in/pinned-tools")]


def test_a_restraint_is_that_of_the_time(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        asyncio.run(authority.move(stage.house, "refund-agent", Move.RESTRAIN, actor="test@example.com", reason="odd"))
        stage.submit(stage.bearer(), stage.make("create_refund", refund(50)))
        asyncio.run(authority.move(stage.house, "refund-agent", Move.RESUME, actor="test@example.com", reason="fine"))
        found = compared(stage, estate_files())
        told = why.recorded(stage.house, str(stage.entries("verdict")[0]["index"]))

    assert (found["same"], found["changes"]) == (1, [])
    assert told["replayed"]["verdict"] == "escalate"
    assert told["agrees"] is True


# --- why --------------------------------------------------------------------------------------------------------------


def test_a_recorded_verdict_is_explained_by_the_guardrail_that_held_then(tmp_path: Path) -> None:
    guard = (
        '@id("no-refunds")\n@reason("no refunds today")\n'
        'forbid (principal, action == Charter::Action::"payments/refund.create", resource)\n'
        'when { principal.environment == "production" && resource.path like "charge/*" };'
    )
    with a_house(tmp_path, files=estate_files() | {"guardrails/g.cedar": guard}) as stage:
        stage.submit(stage.bearer(), stage.make("create_refund", refund(50)))
        stage.apply(estate_files())
        told = why.recorded(stage.house, stage.entries("verdict")[0]["body"]["verdict_id"])
        now = why.supposed(
            stage.house, Supposed("refund-agent", "payments", "refund.create", stage.clock.now(), refund(50))
        )

    assert told["agrees"] is True
    assert told["sentence"].endswith("is denied by `guardrail/no-refunds` (guardrails/g.cedar:3:1): no refunds today")
    (looked,) = [rule for rule in told["replayed"]["rules"] if rule["rule"] == "guardrail/no-refunds"]
    assert looked["outcome"] == "forbids"
    assert [(c["condition"], c["met"], c["given"]) for c in looked["conditions"]] == [
        ('when principal.environment == "production"', True, "principal.environment is production"),
        ('when resource.path like "charge/*"', True, "resource.path is charge/ch_1"),
    ]
    assert now["verdict"] == "allow"


def test_a_record_that_is_not_what_its_time_comes_to_is_told(tmp_path: Path) -> None:
    """Should the history be altered, the replay differs, and says so."""
    from charter.adapters import tables as t
    from charter.core.canonical import digest

    guard = 'forbid (principal, action == Charter::Action::"payments/refund.create", resource);'
    with a_house(tmp_path, files=estate_files() | {"guardrails/g.cedar": guard}) as stage:
        stage.submit(stage.bearer(), stage.make("create_refund", refund(50)))
        body = guard.replace("forbid", "forbid ", 1).replace("refund.create", "charge.read")
        change = t.estate_history.update().where(t.estate_history.c.name == "guardrails/g.cedar")
        stage.house.database.write(
            lambda tx: tx.connection.execute(change.values(body=body, digest=digest(body.encode())))
        )
        told = why.recorded(stage.house, str(stage.entries("verdict")[0]["index"]))

    assert told["agrees"] is False
    assert told["difference"] == "recorded as deny, and decided again as allow by `refund-agent/grant-2`"
    assert "the policies that are kept for that time are not those that the verdict names" in told["notes"]


def test_a_supposed_call_tells_what_failed_with_its_value_and_the_mend(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        told = why.supposed(
            stage.house, Supposed("refund-agent", "payments", "refund.create", stage.clock.now(), refund(300))
        )

    assert told["verdict"] == "deny"
    (grant,) = [rule for rule in told["rules"] if rule["rule"] == "refund-agent/grant-2"]
    assert ("`amount` up to 200 EUR", False, "this call asks 300 EUR") in [
        (c["condition"], c["met"], c["given"]) for c in grant["conditions"]
    ]
    assert told["mend"][0].startswith("ask for at most 200 EUR, or raise `max` at principals/refund-agent.yaml")


def test_a_supposed_call_knows_standing_and_what_is_left_of_limits(tmp_path: Path) -> None:
    reading = {"system": "payments", "actions": ["charge.read"], "limit": [{"count": 1, "per": "day"}]}
    with a_house(tmp_path, files=estate_files(grants=[reading])) as stage:
        asked = Supposed("refund-agent", "payments", "charge.read", stage.clock.now(), READ)
        before = why.supposed(stage.house, asked)
        stage.submit(stage.bearer(), stage.make("get_charge", READ))
        after = why.supposed(stage.house, asked)
        again = why.supposed(stage.house, asked)
        asyncio.run(authority.move(stage.house, "refund-agent", Move.SUSPEND, actor="test@example.com", reason="odd"))
        suspended = why.supposed(stage.house, asked)

    assert before["limits"] == [{"limit": "1 call per day", "link": "refund-agent", "used": "0"}]
    assert after["verdict"] == again["verdict"] == "deny"
    assert after["reasons"][0]["layer"] == "limit"
    assert suspended["reasons"][0]["text"] == "`refund-agent` is suspended"


def test_a_supposed_chain_names_the_link_that_lacked_the_right(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        chain = SupposedChain("charge-reader", purpose="dispute-handling")
        told = why.supposed(
            stage.house,
            Supposed("refund-agent", "payments", "refund.create", stage.clock.now(), refund(50), chain=chain),
        )

    assert (told["verdict"], told["lacking"]) == ("deny", "charge-reader")
    assert "charge-reader has no grant for `refund.create`" in told["sentence"]


def test_a_supposed_call_names_what_there_is(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        for asked in (("refund-agnt", "payments", "charge.read"), ("refund-agent", "payment", "charge.read")):
            with pytest.raises(AbsentError) as raised:
                why.supposed(stage.house, Supposed(*asked, stage.clock.now(), READ))
            assert "did you mean" in (raised.value.help or "")


def test_an_amount_below_zero_is_told_to_be_one(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        asked = Supposed("refund-agent", "payments", "refund.create", stage.clock.now(), refund(-5000))
        told = why.supposed(stage.house, asked)
    assert "`amount` in EUR, not below zero, which its limit counts" in told["sentence"]
    assert told["mend"] == ["send `amount` in EUR, not below zero"]


def test_a_yes_of_a_role_that_there_is_none_of_is_no_yes(tmp_path: Path) -> None:
    """It would lift nothing, and the answer would read as if people had been asked."""
    with a_house(tmp_path) as stage:
        call = ("refund-agent", "payments", "refund.create", stage.clock.now(), refund(150))
        asked = Supposed(*call, approvals=("payments-laed",))
        for files in (None, estate_files()):
            with pytest.raises(AbsentError) as raised:
                why.supposed(stage.house, asked, files)
            assert raised.value.detail == "there is no role `payments-laed` in teams.yaml"
            assert raised.value.help == "did you mean `payments-lead`?"


@pytest.mark.parametrize("which", ["vrd_", "x", "-1", "99999999999999999999", "vrd_0000000000000000000000000!"])
def test_what_names_no_verdict_is_refused(tmp_path: Path, which: str) -> None:
    with a_house(tmp_path) as stage, pytest.raises((AbsentError, MalformedError)):
        why.recorded(stage.house, which)
    with a_house(tmp_path) as stage, pytest.raises(AbsentError):
        why.recorded(stage.house, "0")  # the opening of the log
