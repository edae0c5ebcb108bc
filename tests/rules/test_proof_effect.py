"""What a change does to what a principal may do: gains, losses, and nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from builders import PAYMENTS_SYSTEM, REFUND_CHARTER, a_charter, a_system
from charter.policy.guardrail import Guardrail
from charter.policy.verdict import Allow
from charter.proof.effect import NEWLY, OFTENER, Answer, Effect, Side, effect_of
from charter.registry.charter import Charter
from charter.registry.system import System
from policies import bound, guards
from proof_stage import Helpless, means

GRANT: dict[str, Any] = REFUND_CHARTER["grants"][0]
WHEN: dict[str, Any] = GRANT["when"]
LIMITS: list[dict[str, Any]] = GRANT["limit"]


def granting(**changed: Any) -> Charter:
    """Return the refund agent's charter with some fields of its grant changed; None leaves one out."""
    grant = {name: each for name, each in (copy.deepcopy(GRANT) | changed).items() if each is not None}
    return a_charter(grants=[grant])


def side(charter: Charter, guardrails: tuple[Guardrail, ...] = (), system: System | None = None) -> Side:
    known = system or a_system()
    return Side(bound(charter, guardrails=guardrails, system=known), {known.system: known})


def effect(before: Charter, after: Charter, **given: Any) -> Effect:
    return effect_of(side(before, **given), side(after, **given), means())


def told(effect: Effect) -> tuple[set[tuple[str, str, str]], set[tuple[str, str, str]]]:
    """Return the ways in which answers change, newly and no more: (action, before, after)."""
    assert not effect.gaps
    assert not effect.unknown_losses
    return tuple(  # type: ignore[return-value]
        {(each.shown.example.action, *(answer.value for answer in each.answers)) for each in some}
        for some in (effect.gains, effect.losses)
    )


REFUND, READ = "refund.create", "charge.read"
CASES: tuple[tuple[str, Charter, Charter, set[tuple[str, str, str]], set[tuple[str, str, str]]], ...] = (
    ("the same charter", granting(), granting(), set(), set()),
    (
        "a higher maximum",
        granting(),
        granting(when=WHEN | {"amount": {"max": "300 EUR"}}),
        {(REFUND, "deny", "escalate")},
        set(),
    ),
    (
        "a lower maximum",
        granting(),
        granting(when=WHEN | {"amount": {"max": "150 EUR"}}),
        set(),
        {(REFUND, "escalate", "deny")},
    ),
    ("no approval", granting(), granting(approval=None), {(REFUND, "escalate", "allow")}, set()),
    (
        "an approval of less",
        granting(),
        granting(approval={"when": {"amount": {"over": "50 EUR"}}, "by": "payments-lead"}),
        set(),
        {(REFUND, "allow", "escalate")},
    ),
    (
        "a second approver",
        granting(),
        granting(approval=GRANT["approval"] | {"count": 2}),
        set(),
        {(REFUND, "escalate", "escalate")},
    ),
    (
        "another approver",
        granting(),
        granting(approval=GRANT["approval"] | {"by": "payments-risk"}),
        {(REFUND, "escalate", "escalate")},
        {(REFUND, "escalate", "escalate")},
    ),
    (
        "an action less",
        granting(when=None, limit=LIMITS[:1], approval=None),
        granting(when=None, limit=LIMITS[:1], approval=None, actions=[READ]),
        set(),
        {(REFUND, "allow", "deny")},
    ),
    (
        "other hours",
        granting(),
        granting(when=WHEN | {"hours": "09:00-18:30 Europe/Berlin"}),
        {(READ, "deny", "allow"), (REFUND, "deny", "allow"), (REFUND, "deny", "escalate")},
        {(READ, "allow", "deny"), (REFUND, "allow", "deny"), (REFUND, "escalate", "deny")},
    ),
    (
        "objects that overlap",
        granting(objects=["charge/a*"], actions=[READ], when=None, limit=None, approval=None),
        granting(objects=["charge/*b", "charge/a1"], actions=[READ], when=None, limit=None, approval=None),
        {(READ, "deny", "allow")},
        {(READ, "allow", "deny")},
    ),
    (
        "the same objects otherwise written",
        granting(objects=["charge/*"], actions=[READ], when=None, limit=None, approval=None),
        granting(objects=["*e/*", "charge/x"], actions=[READ], when=None, limit=None, approval=None),
        set(),
        set(),
    ),
    (
        "data that it may not touch any more",
        a_charter(),
        a_charter(data=[]),
        set(),
        {(READ, "allow", "deny"), (REFUND, "allow", "deny"), (REFUND, "escalate", "deny")},
    ),
    (
        "the same window in another zone",
        granting(when=WHEN | {"hours": "08:00-18:00 Europe/Berlin"}),
        granting(when=WHEN | {"hours": "08:00-18:00 Europe/Berlin"}, delegated={"by": ["humans"]}),
        set(),
        {(READ, "allow", "deny"), (REFUND, "allow", "deny"), (REFUND, "escalate", "deny")},
    ),
)


@pytest.mark.parametrize(
    ("before", "after", "gains", "losses"), [each[1:] for each in CASES], ids=[c[0] for c in CASES]
)
def test_a_change_is_told_by_the_answers_that_change(
    before: Charter, after: Charter, gains: set[tuple[str, str, str]], losses: set[tuple[str, str, str]]
) -> None:
    assert told(effect(before, after)) == (gains, losses)


@pytest.mark.parametrize("case", CASES, ids=[c[0] for c in CASES])
def test_what_is_gained_one_way_is_lost_the_other_way(case: tuple[Any, ...]) -> None:
    _, before, after, gains, losses = case
    turned = tuple({(action, becomes, was) for action, was, becomes in some} for some in (losses, gains))
    assert told(effect(after, before)) == turned


def test_an_example_is_small_and_in_the_words_of_the_estate() -> None:
    (gain,) = effect(granting(), granting(when=WHEN | {"amount": {"max": "300 EUR"}})).gains
    call = gain.shown.example.to_json()
    assert call == {
        "system": "payments",
        "action": "refund.create",
        "object": "charge/1",
        "arguments": {"amount": 201, "currency": "EUR", "charge_id": "1"},
        "at": "2026-12-01T12:00:00+00:00",
        "approvals": ["payments-lead"],
    }
    assert gain.sentence == (
        "`refund.create` on `payments`, charge/1, with amount 201 and currency EUR, on Tue 01 Dec 2026 at 12:00 UTC: "
        "allowed once payments-lead says yes; it was denied (refund-agent may do `refund.create` on `payments` with "
        "`amount` up to 200 EUR; this call asks 201 EUR)"
    )


def test_a_loss_says_which_rule_denies_it_then() -> None:
    (loss, *_) = effect(granting(), granting(when=WHEN | {"amount": {"max": "50 EUR"}})).losses
    assert loss.sentence.endswith(
        ": denied (refund-agent may do `refund.create` on `payments` with `amount` up to 50 EUR; this call asks "
        f"{loss.shown.example.arguments['amount']} EUR); it was allowed"
    )
    guarded = guards('@id("frozen") @reason("these are frozen") forbid (principal, action, resource);')
    (loss, *_) = effect_of(side(granting()), side(granting(), guarded), means()).losses
    assert "denied (guardrail/frozen: these are frozen); it was allowed" in loss.sentence


def test_an_example_was_decided_so_by_the_engine() -> None:
    found = effect(granting(), granting(when=WHEN | {"hours": "07:00-23:00 Asia/Tokyo"}))
    assert found.gains
    assert found.losses
    for gain in found.gains:
        was, becomes = gain.shown.replayed
        assert was is not None
        assert becomes is not None
        assert not isinstance(was.verdict, Allow)
        assert isinstance(becomes.verdict, Allow)


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (LIMITS, []),
        (LIMITS, LIMITS[:1]),
        (LIMITS, [LIMITS[0] | {"count": 51}, LIMITS[1]]),
        (LIMITS, [LIMITS[0] | {"per": "hour"}, LIMITS[1]]),
        (LIMITS, [LIMITS[0] | {"zone": "Europe/Berlin"}, LIMITS[1]]),
        ([{"count": 5, "within": "2h"}], [{"count": 5, "within": "1h"}]),
        ([{"count": 5, "per": "day", "zone": "Europe/Berlin"}], [{"count": 5, "within": "24h"}]),  # days of 25 hours
    ],
)
def test_a_limit_that_is_raised_or_cannot_be_compared_widens(
    was: list[dict[str, Any]], becomes: list[dict[str, Any]]
) -> None:
    found = effect(granting(limit=was), granting(limit=becomes or None))
    assert OFTENER in {each.how for each in found.gains}


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ([LIMITS[0]], LIMITS),
        ([LIMITS[0]], [LIMITS[0] | {"count": 49}]),
        ([{"count": 5, "within": "1h"}], [{"count": 5, "within": "2h"}]),
        ([{"count": 5, "per": "day"}], [{"count": 5, "within": "24h"}]),
    ],
)
def test_a_limit_that_is_lowered_narrows(was: list[dict[str, Any]], becomes: list[dict[str, Any]]) -> None:
    found = effect(granting(limit=was), granting(limit=becomes))
    assert not found.gains
    assert not found.gaps
    assert found.losses


def test_a_grant_divided_in_two_may_be_used_twice_as_often() -> None:
    own = {"limit": [{"count": 50, "per": "day"}], "when": None, "approval": None}
    one = {name: each for name, each in (GRANT | own).items() if each is not None}
    two = a_charter(grants=[one | {"actions": [READ]}, one | {"actions": [REFUND]}])
    found = effect(a_charter(grants=[one]), two)
    assert [(each.how, each.shown.example.action) for each in found.gains] == [(OFTENER, REFUND)]
    assert "no longer counted with the same calls" in found.gains[0].sentence
    assert not effect(two, a_charter(grants=[one])).gains


def test_one_call_over_the_sum_of_a_limit_is_denied_in_the_proof_too() -> None:
    wide = granting(when=None, approval=None, limit=[{"sum": "amount", "max": "100 EUR", "per": "day"}])
    narrow = granting(when=None, approval=None, limit=[{"sum": "amount", "max": "60 EUR", "per": "day"}])
    loss = next(each for each in effect(wide, narrow).losses if each.shown.example.action == REFUND)
    assert loss.how == NEWLY
    assert loss.answers == (Answer.ALLOW, Answer.DENY)
    assert 60 < loss.shown.example.arguments["amount"] <= 100


# --- guardrails, systems, and what is not proven ----------------------------------------------------------------------


def test_a_guardrail_taken_away_widens_where_it_forbade() -> None:
    guard = guards(
        'forbid (principal, action == Charter::Action::"payments/refund.create", resource) '
        'when { resource.path like "charge/frozen*" };'
    )
    before, after = side(a_charter(), guard), side(a_charter())
    found = effect_of(before, after, means())
    assert {each.shown.example.action for each in found.gains} == {REFUND}
    assert all(each.shown.example.object.startswith("charge/frozen") for each in found.gains)
    assert not found.losses


def test_a_guardrail_that_forbids_nothing_that_is_granted_changes_nothing() -> None:
    guard = guards('forbid (principal, action, resource) when { resource.path like "dispute/*" };')
    found = effect_of(side(a_charter()), side(a_charter(), guard), means())
    assert found == Effect()


def test_a_freeze_that_is_over_widens_nothing() -> None:
    past = guards('forbid (principal, action, resource) when { context.now < datetime("2026-11-01") };')
    coming = guards('forbid (principal, action, resource) when { context.now > datetime("2027-05-04T10:00:00Z") };')
    assert not effect_of(side(a_charter(), past), side(a_charter()), means()).gains
    found = effect_of(side(a_charter(), coming), side(a_charter()), means())
    assert found.gains
    assert all(each.shown.example.at.isoformat() > "2027-05-04T10:00:00" for each in found.gains)


def test_a_system_that_stops_being_sensitive_widens_what_a_guardrail_asked() -> None:
    guard = guards("forbid (principal, action, resource) when { resource.sensitive };")
    before, after = side(a_charter(), guard), side(a_charter(), guard, a_system(sensitive=False))
    assert {each.answers for each in effect_of(before, after, means()).gains} >= {(Answer.DENY, Answer.ALLOW)}


def test_what_is_outside_is_not_proven_and_never_safe() -> None:
    odd = guards("forbid (principal, action, resource) when { context.chain.deciders == context.chain.parties };")
    found = effect_of(side(a_charter(), odd), side(a_charter(), odd), means())
    assert {each.action[1] for each in found.gaps} == {READ, REFUND}


def test_a_solver_that_gives_up_proves_nothing() -> None:
    found = effect_of(side(granting()), side(granting(approval=None)), means(Helpless()))
    assert not found.gains
    assert {each.action[1] for each in found.gaps} == {REFUND}
    assert "gave up" in found.gaps[0].sentence


def test_what_no_moment_shows_is_not_proven_rather_than_shown() -> None:
    """Midnight in Tokyo is never noon in Berlin: the solver's logic does not know, and no calendar shows it."""
    guard = guards(
        'forbid (principal, action, resource) when { context.local["Asia/Tokyo"].minute == 0 && '
        'context.local["Europe/Berlin"].minute == 720 };'
    )
    found = effect_of(side(a_charter(), guard), side(a_charter()), means())
    assert not found.gains
    assert {each.action[1] for each in found.gaps} == {READ, REFUND}
    assert "never show so together" in found.gaps[0].sentence


def test_a_grant_without_room_hides_none_that_a_yes_opens() -> None:
    """Of two grants one allows unasked, but this call alone is over its limit; the other allows it with a yes."""
    grant = {"system": "payments", "actions": [REFUND], "objects": ["charge/*"]}
    small = grant | {"limit": [{"sum": "amount", "max": "20 EUR", "per": "day"}]}
    both = a_charter(grants=[small, grant | {"approval": {"by": "payments-lead"}}])
    gains = effect(a_charter(grants=[small]), both).gains
    assert any(each.shown.example.arguments.get("amount", 0) > 20 or each.shown.example.approvals for each in gains)


def test_an_action_that_sends_out_by_itself_is_proven_as_such() -> None:
    rails = guards(
        '@id("inside") @reason("it stays here") forbid (principal, action, resource) when { resource.external };'
    )
    actions = PAYMENTS_SYSTEM["actions"]
    out = a_system(actions=actions | {READ: actions[READ] | {"external": True}})
    before, after = (side(granting(), rails, system) for system in (a_system(), out))
    gains, losses = told(effect_of(before, after, means()))
    assert (gains, losses) == (set(), {(READ, "allow", "deny")})
