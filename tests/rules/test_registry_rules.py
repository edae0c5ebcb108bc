"""What the organisation lays down is held against every charter, at the place where the charter breaks it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.adapters.cedar import CedarEngine
from charter.adapters.registry_store import load_live
from charter.policy.check import check_estate
from charter.registry.central import read_central
from charter.registry.estate import Estate, TextFile
from charter.registry.manifest import parse_estate
from charter.registry.problem import EstateError
from estates import PRINCIPAL, SYSTEM, a_registry, estate_files

TODAY = dt.date(2026, 11, 24)
HEAD = "charter: v1\nrules:\n"
NOON = "2026-12-19T12:00:00Z"
FREEZE = f"{{id: a, from: 2026-12-18T00:00:00Z, until: {NOON}}}"


def rule(text: str, *, id: str = "house-rule", force: str = "hard") -> str:  # noqa: A002 - the file's word
    return f"  - {{id: {id}, force: {force}, reason: because, {text}}}\n"


def an_estate(rules: str = "", *, today: dt.date = TODAY, **files: str | None) -> Estate:
    given = {"guardrails/charters.yaml": HEAD + rules} if rules else {}
    return parse_estate(
        estate_files(given | {name.replace("__", "/"): text for name, text in files.items()}), today=today
    )


def problems(rules: str = "", *, principal: str = PRINCIPAL, more: dict[str, str] | None = None) -> list[str]:
    files = {"principals/refund-agent.yaml": principal} | (more or {})
    if rules:
        files["guardrails/charters.yaml"] = HEAD + rules
    try:
        parse_estate(estate_files(files), today=TODAY)
    except EstateError as err:
        return [str(problem) for problem in err.problems]
    return []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "at_most: {review: 30d}",
            (
                "principals/refund-agent.yaml:19:9: `review` is 90d, and `house-rule` allows 30d: because; "
                "write 30d or less"
            ),
        ),
        (
            "at_most: {expires: 30d}",
            (
                "principals/refund-agent.yaml:20:10: `house-rule` lets a charter hold for at most 30d after its "
                "approval: because; write 2026-12-02 at the latest"
            ),
        ),
        (
            "at_most: {ttl: 30m}",
            (
                "principals/refund-agent.yaml:18:69: `max_ttl` is 1h, and `house-rule` allows 30m: because; "
                "write 30m or less"
            ),
        ),
        (
            "at_most: {depth: 1}",
            "principals/refund-agent.yaml:18:84: `house-rule` lets a chain be at most 1 deep: because; write 1",
        ),
        (
            "at_most: {effect: write}",
            (
                "principals/refund-agent.yaml:13:14: `refund.create` on `payments` is irreversible, and `house-rule` "
                "allows write: because; grant another action"
            ),
        ),
        (
            "only: {approved_by: [payments-lead]}",
            (
                "principals/refund-agent.yaml:9:40: `house-rule` does not allow `payments-risk` here: because; "
                "it allows `payments-lead`"
            ),
        ),
        (
            "only: {credentials: [spiffe]}",
            (
                "principals/refund-agent.yaml:10:20: `house-rule` does not allow `private-key-jwt` here: because; "
                "it allows `spiffe`"
            ),
        ),
        (
            "only: {providers: [openai]}",
            (
                "principals/refund-agent.yaml:7:19: `house-rule` does not allow `anthropic` here: because; "
                "it allows `openai`"
            ),
        ),
        (
            "only: {data: []}",
            (
                "principals/refund-agent.yaml:8:8: `house-rule` does not allow `customer-pii` here: because; "
                "it allows none"
            ),
        ),
    ],
)
def test_a_broken_rule_is_told_where_it_is_broken(text: str, told: str) -> None:
    assert problems(rule(text)) == [told]


@pytest.mark.parametrize(
    "scope",
    ["kinds: [copilot]", "environments: [sandbox]", "teams: [payments-platform]", "tiers: [low, medium]"],
)
def test_a_rule_for_others_says_nothing_of_this_one(scope: str) -> None:
    assert problems(rule(f"for: {{{scope}}}, at_most: {{review: 30d}}")) == []


def test_a_rule_for_a_tier_tells_the_sum() -> None:
    (told,) = problems(rule("for: {tiers: [high]}, at_most: {review: 30d}"))
    assert "because (high: 12 = 2 changes state + 2 irreversibly + 2 data + 3 environment + 3 autonomy)" in told


EXCEPTED = PRINCIPAL + "exceptions: [{rule: house-rule, reason: a small one}]\n"


def test_a_default_is_set_aside_by_a_charter_that_says_so() -> None:
    short = "at_most: {review: 30d}"
    assert problems(rule(short, force="default"), principal=EXCEPTED) == []
    assert len(problems(rule(short, force="default"))) == 1
    assert len(problems(rule(short, force="ceiling"), principal=EXCEPTED)) == 1
    assert len(problems(rule(short, force="default", id="another"), principal=EXCEPTED)) == 1


@pytest.mark.parametrize(("until", "count"), [("2026-11-24", 0), ("2026-11-23", 1)])
def test_an_exception_runs_out_after_its_last_day(until: str, count: int) -> None:
    principal = PRINCIPAL + f"exceptions: [{{rule: house-rule, reason: a small one, until: {until}}}]\n"
    assert len(problems(rule("at_most: {review: 30d}", force="default"), principal=principal)) == count


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (rule("only: {approved_by: [payments-lad]}"), "`payments-lad` is no role in teams.yaml; did you mean"),
        (rule("for: {teams: [payment-ops]}, at_most: {review: 99w}"), "`payment-ops` is no team in teams.yaml"),
        (rule("only: {data: [customer-pi]}"), "`customer-pi` is no class of data of any system; did you mean"),
        (rule("only: {systems: [payment]}"), "`payment` is no system; did you mean `payments`?"),
        (rule("answers: [x]"), "the rule `house-rule` asks nothing; write `at_most`, `only` or `bounded`"),
        (
            rule("at_most: {review: 99w}") * 2,
            "the id `house-rule` is taken; by the rule at guardrails/charters.yaml:3:10",
        ),
        (rule("at_most: {revue: 99w}"), "`revue` is no field of what a rule bounds; did you mean `review`?"),
        (rule("at_most: {review: 99w}", force="firm"), "`force` cannot be `firm`"),
    ],
)
def test_a_word_that_names_nothing_is_told_with_the_nearest(rules: str, told: str) -> None:
    assert any(told in problem for problem in problems(rules)), problems(rules)


def test_classes_that_data_yaml_does_not_describe_are_warned_of() -> None:
    estate = an_estate(**{"data.yaml": "charter: v1\nclasses: {customer-pi: {level: public}}\n"})
    assert [str(each) for each in estate.warnings] == [
        (
            "systems/payments.yaml:7:7: `customer-pii` is not in data.yaml, so it counts as confidential; "
            "did you mean `customer-pi`?"
        )
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("calendars: {x: {holidays: DX}}", "`DX` is no country whose holidays are known"),
        ("calendars: {x: {holidays: DE-XX}}", "`XX` is no part of DE"),
        ("calendars: {x: {holidays: germany}}", "`germany` is no region; write a country, or a part of one, as in DE"),
        (f"freezes: [{{id: a, from: {NOON}, until: 2026-12-18T00:00:00Z}}]", "the freeze ends before it begins"),
        (f"freezes: [{{id: a, from: 2026-12-19, until: {NOON}}}]", "`2026-12-19` is no moment"),
        (f"freezes: [{{id: a, from: 2026-12-18T00:00:00Z, until: {NOON}, approval: led}}]", "`led` is no role in"),
        (f"freezes: [{FREEZE}, {FREEZE}]", "two freezes are called `a`; rename one"),
    ],
)
def test_calendars_that_mean_nothing_are_refused(text: str, told: str) -> None:
    found = problems(more={"calendars.yaml": f"charter: v1\n{text}\n"})
    assert any(told in problem for problem in found), found


def test_central_files_are_read_back_from_their_text_with_places() -> None:
    central = read_central([TextFile("guardrails/a.yaml", HEAD + rule("at_most: {review: 30d}"))])
    ((found, source),) = central.charter_rules()
    assert (found.id, str(source)) == ("house-rule", "guardrails/a.yaml:3:5")


def test_an_unknown_provider_is_no_system_of_another_kind() -> None:
    found = problems(more={"systems/payments.yaml": SYSTEM + "provider: anthropic\n"})
    assert found == ["systems/payments.yaml:16:11: only a system of the kind model has a `provider`"]


FREEZES = "charter: v1\nfreezes: [{id: now, from: 2026-11-01T00:00:00Z, until: 2026-12-01T00:00:00Z}]\n"
LEVELS = "charter: v1\nclasses: {customer-pii: {level: restricted}}\n"


def test_central_files_are_planned_applied_and_withdrawn_like_all_others(tmp_path: Path, database_url: str) -> None:
    files = {"guardrails/charters.yaml": HEAD + rule("at_most: {review: 90d}"), "calendars.yaml": FREEZES}
    with a_registry(tmp_path, database_url) as house:
        plain, ruled = an_estate(), an_estate(**files | {"data.yaml": LEVELS})
        house.apply(plain)
        before = house.live.policy_generation
        found = [(change.what.value, change.name, change.change.value) for change in house.plan(ruled).changes]
        assert found == [("rules", path, "create") for path in sorted([*files, "data.yaml"])]
        house.apply(ruled)
        assert house.plan(ruled).changes == ()
        assert house.live.central == ruled.central
        assert house.live.policy_generation > before
        again = house.database.read(lambda tx: load_live(tx.connection))
        assert again.central == ruled.central
        (change,) = house.plan(an_estate(**files | {"data.yaml": LEVELS.replace("restricted", "public")})).changes
        assert any("level: public" in note for note in change.notes)
        house.apply(plain)
        assert house.live.central.files == ()


@settings(max_examples=300)
@given(
    st.sampled_from(["data.yaml", "calendars.yaml", "guardrails/charters.yaml", "principals/refund-agent.cedar"]),
    st.sampled_from([FREEZES, LEVELS, HEAD + rule("at_most: {review: 90d}"), "forbid (principal, action, resource);"]),
    st.lists(st.tuples(st.integers(0, 120), st.text(max_size=6)), max_size=4),
)
def test_whatever_a_central_file_holds_it_is_read_or_told_as_a_problem(path: str, text: str, edits: Any) -> None:
    for at, inserted in edits:
        text = text[:at] + inserted + text[at + len(inserted) // 2 :]
    try:
        estate = parse_estate(estate_files({path: text.encode("utf-8", "replace").decode()}), today=TODAY)
        problems = check_estate(estate, CedarEngine())
    except EstateError as err:
        problems = err.problems
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)
