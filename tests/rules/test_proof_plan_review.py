"""Whose yes a plan needs, who may give it, and what still lacks it."""

from __future__ import annotations

import pytest

from builders import a_charter
from charter.core.errors import DeniedError
from charter.proof.consequence import Consequence
from charter.proof.effect import Effect, Gap
from charter.proof.plan_review import Need, Yes, missing, needs_of, seats_of
from charter.proof.route import Conclusion, Route, Seat, conclusion_of, route_of
from charter.proof.terms_of_charter import TermChange, Turn
from charter.registry.change_terms import ChangeTerms
from charter.registry.plan import Change, ChangeKind, What
from charter.registry.risk import Tier
from charter.registry.team import Teams

TEAMS = Teams.model_validate(
    {
        "charter": "v1",
        "teams": {"payments-ops": {"lead": "maria@example.com", "members": ["jo@example.com"]}},
        "roles": {"payments-risk": ["alex@example.com", "maria@example.com"], "security-lead": ["noor@example.com"]},
    }
)
TERMS = ChangeTerms(reviewed="required", central="security-lead")
OWNERS = {"refund-agent": "maria@example.com"}
RISK = Need("role:payments-risk", ("refund-agent",), ("refund-agent: it widens",))
TEAM = Need("team:payments-ops", ("refund-agent",), ())


def widening(seat: Seat = Seat.REVIEWER, who: str = "payments-risk", name: str = "refund-agent") -> Consequence:
    return Consequence(name, Conclusion.WIDENS, Route(seat, who, "it widens"), Effect())


@pytest.mark.parametrize(
    ("effect", "turns", "conclusion"),
    [
        (Effect(), [], Conclusion.SAME),
        (Effect(), [Turn.NARROWS], Conclusion.NARROWS),
        (Effect(), [Turn.NARROWS, Turn.UNCLEAR], Conclusion.UNPROVEN),
        (Effect(), [Turn.UNCLEAR, Turn.WIDENS], Conclusion.WIDENS),
        (Effect(gaps=(Gap(("a", "b"), "?"),)), [Turn.NARROWS], Conclusion.UNPROVEN),
        (Effect(unknown_losses=(Gap(("a", "b"), "?"),)), [], Conclusion.NARROWS),
    ],
)
def test_what_is_not_proven_never_counts_as_narrower(effect: Effect, turns: list[Turn], conclusion: Conclusion) -> None:
    assert conclusion_of(effect, [TermChange("x", each, "") for each in turns]) is conclusion


@pytest.mark.parametrize(
    ("conclusion", "tier", "pattern", "up_to", "seat"),
    [
        (Conclusion.SAME, Tier.CRITICAL, None, Tier.LOW, ""),
        (Conclusion.NARROWS, Tier.CRITICAL, None, Tier.LOW, ""),
        (Conclusion.WIDENS, Tier.LOW, "copilot", Tier.LOW, "team:payments-ops"),
        (Conclusion.WIDENS, Tier.LOW, None, Tier.LOW, "role:payments-risk"),
        (Conclusion.WIDENS, Tier.MEDIUM, "copilot", Tier.LOW, "role:payments-risk"),
        (Conclusion.WIDENS, Tier.MEDIUM, "copilot", Tier.MEDIUM, "team:payments-ops"),
        (Conclusion.UNPROVEN, Tier.LOW, "copilot", Tier.LOW, "team:payments-ops"),
        (Conclusion.UNPROVEN, Tier.LOW, None, Tier.CRITICAL, "role:payments-risk"),
    ],
)
def test_a_change_goes_to_nobody_to_the_team_or_to_the_reviewer(
    conclusion: Conclusion, tier: Tier, pattern: str | None, up_to: Tier, seat: str
) -> None:
    assert route_of(conclusion, a_charter(), tier, pattern, up_to).name == seat


def test_each_seat_is_needed_once_and_what_concerns_everybody_needs_the_central_role() -> None:
    guardrail = Change(ChangeKind.CHANGE, What.GUARDRAIL, "guardrails/hours.cedar", "a", "b")
    own = Change(ChangeKind.CHANGE, What.PRINCIPAL, "refund-agent", "a", "b")
    found = needs_of([own, guardrail], [widening(), widening(name="other"), widening(Seat.NOBODY, "")], TERMS)
    assert [(each.seat, each.subjects) for each in found] == [
        ("role:payments-risk", ("refund-agent", "other")),
        ("role:security-lead", ("guardrail guardrails/hours.cedar",)),
    ]
    assert [each.seat for each in needs_of([guardrail], [], None)] == []


@pytest.mark.parametrize(
    ("person", "seats"),
    [
        ("alex@example.com", ("role:payments-risk",)),
        ("jo@example.com", ("team:payments-ops",)),
        ("maria@example.com", ("team:payments-ops",)),  # she owns it, and so has no say in the role
    ],
)
def test_a_person_says_yes_at_the_seats_they_hold(person: str, seats: tuple[str, ...]) -> None:
    assert seats_of(person, [RISK, TEAM], TEAMS, OWNERS) == seats


@pytest.mark.parametrize(
    ("person", "needs", "why"),
    [
        ("noor@example.com", [RISK], "holds none of the seats"),
        ("maria@example.com", [RISK], "owns what this plan widens"),
        ("alex@example.com", [], "needs nobody's yes"),
    ],
)
def test_who_has_no_say_is_refused(person: str, needs: list[Need], why: str) -> None:
    with pytest.raises(DeniedError, match=why):
        seats_of(person, needs, TEAMS, OWNERS)


@pytest.mark.parametrize(
    ("given", "actor", "lacks"),
    [
        ([], "sam@example.com", True),
        ([Yes("role:payments-risk", "alex@example.com")], "sam@example.com", False),
        ([Yes("role:payments-risk", "alex@example.com")], "alex@example.com", True),  # never who applies it
        ([Yes("team:payments-ops", "jo@example.com")], "sam@example.com", True),  # another seat
        ([Yes("role:payments-risk", "maria@example.com")], "sam@example.com", True),  # the owner
        ([Yes("role:payments-risk", "gone@example.com")], "sam@example.com", True),  # holds the role no more
    ],
)
def test_a_yes_counts_only_from_another_who_holds_the_seat_now(given: list[Yes], actor: str, lacks: bool) -> None:
    assert bool(missing([RISK], given, actor=actor, teams=TEAMS, owners=OWNERS)) is lacks
