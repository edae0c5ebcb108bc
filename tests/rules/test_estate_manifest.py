"""An estate is read whole and cross-checked, or every problem of every file is told."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter.core.values import Source
from charter.registry import crosscheck, manifest
from charter.registry.document import read_text
from charter.registry.manifest import load_estate, parse_estate, read_files
from charter.registry.problem import EstateError
from estates import FILES, PATTERN, PRINCIPAL, SYSTEM, TEAMS, an_estate, another_principal, estate_files, write_files


def problems_of(files: dict[str, str]) -> list[str]:
    with pytest.raises(EstateError) as caught:
        parse_estate(files)
    return [str(problem) for problem in caught.value.problems]


def problems_in(folder: Path) -> list[str]:
    with pytest.raises(EstateError) as caught:
        load_estate(folder)
    return [str(problem) for problem in caught.value.problems]


def warnings_of(changed: dict[str, str | None], today: dt.date | None = None) -> list[str]:
    return [str(warning) for warning in parse_estate(estate_files(changed), today=today).warnings]


def test_a_folder_becomes_an_estate(tmp_path: Path) -> None:
    estate = load_estate(write_files(tmp_path, FILES))
    assert list(estate.charters) == ["refund-agent"]
    assert list(estate.systems) == ["payments"]
    assert [part.path for part in estate.guardrails] == ["guardrails/environments.cedar"]
    assert list(estate.patterns) == ["small-refunds"]
    assert [part.value.name for part in estate.trials] == ["a small refund goes through", "a large one does not"]
    assert not estate.warnings


def test_policy_can_name_file_and_line_of_every_condition() -> None:
    part = an_estate().charters["refund-agent"]
    assert part.sources["grants.0.when.hours"] == Source("principals/refund-agent.yaml", 15, 19)
    assert part.source_of("grants.0.when.hours.start") == part.sources["grants.0.when.hours"]
    assert part.source_of("nowhere.at.all") == Source("principals/refund-agent.yaml", 1, 1)
    assert part.path == "principals/refund-agent.yaml"


def test_each_test_knows_its_own_place() -> None:
    _, second = an_estate().trials
    assert second.source_of("expect") == Source("tests/refunds.yaml", 15, 13)
    assert second.source_of("") == Source("tests/refunds.yaml", 10, 5)


def test_what_is_read_once_can_be_parsed_later(tmp_path: Path) -> None:
    files = read_files(write_files(tmp_path, FILES))
    assert files == FILES
    assert parse_estate(files).digest == an_estate().digest


def test_problems_of_all_files_are_told_together() -> None:
    found = problems_of(
        estate_files(
            {
                "principals/refund-agent.yaml": PRINCIPAL.replace("kind: agent", "kind: agnt").replace("90d", "9x"),
                "systems/payments.yaml": SYSTEM.replace("effect: read", "effect: reed"),
                "teams.yaml": TEAMS.replace("lead: pia@example.com", "lead: pia"),
            }
        )
    )
    assert [each.split(":")[0] for each in found] == [
        "principals/refund-agent.yaml",
        "principals/refund-agent.yaml",
        "systems/payments.yaml",
        "teams.yaml",
    ]


def test_a_broken_file_does_not_make_others_look_wrong() -> None:
    found = problems_of(estate_files({"systems/payments.yaml": "charter: [", "teams.yaml": "charter: v1\nx: 1\n"}))
    assert [each.split(":")[0] for each in found] == ["systems/payments.yaml", "teams.yaml"]


@pytest.mark.parametrize("path", ["guardrails/x.yaml", "data.yaml", "calendars.yaml", "sharing.yaml", "flow.yaml"])
def test_one_broken_central_file_does_not_make_charters_look_wrong(path: str) -> None:
    """What another central file says is read no more then, and its words are not missed."""
    principal = PRINCIPAL.replace("days: mon-fri,", "days: mon-fri, workdays: office,")
    principal = principal.replace("{type: private-key-jwt}", "{type: private-key-jwt, places: [hall]}")
    good = {
        "calendars.yaml": "charter: v1\ncalendars: {office: {holidays: DE-BE}}\n",
        "sharing.yaml": "charter: v1\nplaces: {hall: [192.0.2.0/24]}\n",
        "principals/refund-agent.yaml": principal,
    }
    assert parse_estate(estate_files(good))
    found = problems_of(estate_files(good | {path: "charter: v1\nnothing-such: 1\n"}))
    assert {each.split(":")[0] for each in found} == {path}


def test_an_estate_without_teams_is_none() -> None:
    assert problems_of(estate_files({"teams.yaml": None})) == [
        "teams.yaml:1:1: the estate has no teams.yaml; begin one: charter init"
    ]


def test_a_folder_that_is_not_there_is_no_empty_estate(tmp_path: Path) -> None:
    assert "there is no estate here; begin one: charter init" in problems_in(tmp_path / "gone")[0]
    assert problems_in(tmp_path)[0].startswith("teams.yaml:1:1: the estate has no teams.yaml")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("principals/agent.yml", "only files that end in .yaml or .cedar are read; rename it, or move it elsewhere"),
        (
            "guardrails/night.cedar.off",
            "only files that end in .cedar or .yaml are read; rename it, or move it elsewhere",
        ),
        ("guardrails/NIGHT.CEDAR", "only files that end in .cedar or .yaml are read; rename it, or move it elsewhere"),
        ("systems/a b.yaml", "the file's name holds a character that is not allowed; use a-z, 0-9 and hyphens"),
        ("principals/more/agent.yaml", "folders inside are not read; put the files into principals/ itself"),
    ],
)
def test_a_file_that_would_be_passed_over_in_silence_is_told(tmp_path: Path, name: str, message: str) -> None:
    write_files(tmp_path, FILES | {name: PRINCIPAL})
    where = "principals/more" if "more" in name else name
    assert problems_in(tmp_path) == [f"{where}:1:1: {message}"]


def test_notes_and_hidden_files_beside_the_files_are_passed_over(tmp_path: Path) -> None:
    others = {"principals/README.md": "notes", "systems/.swp": "x", "README.md": "x", "notes/a.yaml": "x", "a.txt": "x"}
    assert load_estate(write_files(tmp_path, FILES | others)).digest == an_estate().digest


def test_a_link_inside_the_estate_is_followed(tmp_path: Path) -> None:
    write_files(tmp_path, estate_files({"guardrails/environments.cedar": None}) | {"shared/env.cedar": "// none"})
    (tmp_path / "guardrails").mkdir()
    (tmp_path / "guardrails/env.cedar").symlink_to("../shared/env.cedar")
    assert [part.text for part in load_estate(tmp_path).guardrails] == ["// none"]


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    (tmp_path / "systems/gone.yaml").symlink_to("nowhere.yaml")
    (tmp_path / "systems/round.yaml").symlink_to("round.yaml")
    found = problems_in(tmp_path)
    assert found[0] == "systems/gone.yaml:1:1: the file cannot be read: No such file or directory; mend it or remove it"
    assert found[1].startswith("systems/round.yaml:1:1: the file cannot be read: ")


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    os.mkfifo(tmp_path / "systems/pipe.yaml")
    assert problems_in(tmp_path) == ["systems/pipe.yaml:1:1: this is no plain file; remove it"]


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "MAX_FILES", 3)
    assert "the estate has more than 3 files" in problems_in(write_files(tmp_path, FILES))[0]
    assert "the estate is too large" in problems_of(FILES)[0]


@pytest.mark.parametrize("path", ["../teams.yaml", "/etc/passwd", "principals/../x.yaml", "principals/.yaml", "x.yaml"])
def test_a_path_that_is_no_estate_file_is_refused(path: str) -> None:
    assert any("this is no file of an estate" in each for each in problems_of(FILES | {path: PRINCIPAL}))


def test_line_ends_do_not_change_an_estate() -> None:
    windows = {path: text.replace("\n", "\r\n") for path, text in FILES.items()}
    assert parse_estate(windows).digest == an_estate().digest


def test_comments_and_order_of_fields_do_not_change_an_estate() -> None:
    lines = PRINCIPAL.replace("review: 90d\n", "")
    moved = "# a comment\nreview: 90d\n" + lines
    assert an_estate({"principals/refund-agent.yaml": moved}).digest == an_estate().digest


@pytest.mark.parametrize(
    "changed",
    [
        {"principals/refund-agent.yaml": PRINCIPAL.replace("200 EUR", "201 EUR")},
        {"systems/payments.yaml": SYSTEM.replace("sensitive: true", "sensitive: false")},
        {"guardrails/environments.cedar": "// none"},
        {"guardrails/environments.cedar": None},
        {"patterns/small-refunds.yaml": None},
        {"teams.yaml": TEAMS.replace("[lena@example.com]\n", "[lena@example.com, alex@example.com]\n")},
        another_principal("second"),
    ],
)
def test_whatever_can_be_applied_changes_the_digest(changed: dict[str, str | None]) -> None:
    assert an_estate(changed).digest != an_estate().digest


def test_tests_are_no_part_of_the_digest() -> None:
    assert an_estate({"tests/refunds.yaml": None}).digest == an_estate().digest


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("charge.read", "charge.reed", "18:41: `charge.reed` is no action of the system `payments`; did you mean"),
        ("system: payments", "system: paymnts", "18:21: `paymnts` is no system; did you mean `payments`?"),
        ("role: payments-risk", "role: risk", "16:42: `risk` is no role in teams.yaml; did you mean `payments-risk`?"),
        ("[customer-pii]", "[customer-pi]", "15:10: `customer-pi` is no data class of any system; did you mean"),
    ],
)
def test_what_a_pattern_names_must_be_there(old: str, new: str, told: str) -> None:
    files = estate_files({"patterns/small-refunds.yaml": PATTERN.replace(old, new, 1)})
    (found,) = problems_of(files)
    assert found.startswith(f"patterns/small-refunds.yaml:{told}")


def test_what_stands_where_a_parameter_is_put_in_says_nothing_of_the_pattern() -> None:
    open_team = PATTERN.replace("team: payments-ops", 'team: "${team}"').replace(
        "parameters:\n", "parameters:\n  team: {description: their team, default: whoever}\n"
    )
    assert warnings_of({"patterns/small-refunds.yaml": open_team}) == []


def test_a_rule_that_a_patterns_charters_would_break_is_a_warning() -> None:
    rule = "charter: v1\nrules: [{id: soon, at_most: {review: 30d}, reason: it is soon}]\n"
    (found,) = warnings_of(
        {"guardrails/more.yaml": rule, "principals/refund-agent.yaml": PRINCIPAL.replace("90d", "30d")}
    )
    assert (
        found
        == "patterns/small-refunds.yaml:19:11: `review` is 90d, and `soon` allows 30d: it is soon; write 30d or less"
    )


# --- warnings ---


def test_an_expired_charter_is_a_warning_and_only_when_asked_for_a_day() -> None:
    late = dt.date(2027, 11, 3)
    assert warnings_of({"patterns/small-refunds.yaml": None}, today=late) == [
        (
            "principals/refund-agent.yaml:20:10: `refund-agent` expired on 2027-11-02, so it cannot act; "
            "set a later date once its owner has reviewed it"
        )
    ]
    assert warnings_of({}, today=dt.date(2027, 11, 2)) == []
    assert warnings_of({}) == []


def test_an_approval_that_is_still_to_come_is_a_problem() -> None:
    """Rules count from that day on: one in the future would let a charter hold for longer than they allow."""
    today, changed = dt.date(2026, 11, 28), PRINCIPAL.replace("on: 2026-11-02", "on: 2026-11-30")
    files = estate_files({"principals/refund-agent.yaml": changed})
    with pytest.raises(EstateError) as caught:
        parse_estate(files, today=today)
    assert [str(each) for each in caught.value.problems] == [
        (
            "principals/refund-agent.yaml:9:59: `refund-agent` was approved on 2026-11-30, which is still to come; "
            "write the day of the approval: 2026-11-28"
        )
    ]
    assert parse_estate(files, today=dt.date(2026, 11, 29)).warnings == ()  # where it is tomorrow already
    assert parse_estate(files).warnings == ()


def test_an_exception_that_has_run_out_is_a_warning() -> None:
    changed = PRINCIPAL + "exceptions: [{rule: a-rule, reason: until it is mended, until: 2026-11-20}]\n"
    assert warnings_of({"principals/refund-agent.yaml": changed}, today=dt.date(2026, 11, 28)) == [
        (
            "principals/refund-agent.yaml:21:64: this ran out on 2026-11-20, so `a-rule` holds again; "
            "remove it, or have it approved until a later day"
        )
    ]
    assert warnings_of({"principals/refund-agent.yaml": changed}, today=dt.date(2026, 11, 20)) == []


def test_a_person_in_no_team_is_a_warning() -> None:
    changed = PRINCIPAL.replace("maria@example.com", "mari@example.com")
    assert warnings_of({"principals/refund-agent.yaml": changed}) == [
        "principals/refund-agent.yaml:5:17: `mari@example.com` is in no team; did you mean `maria@example.com`?"
    ]


def test_an_approver_without_the_role_is_a_warning() -> None:
    changed = PRINCIPAL.replace("by: alex@example.com", "by: lena@example.com")
    assert warnings_of({"principals/refund-agent.yaml": changed}) == [
        (
            "principals/refund-agent.yaml:9:16: `lena@example.com` does not hold the role `payments-risk` in "
            "teams.yaml; let someone who does approve the next version"
        )
    ]


def test_a_role_that_nobody_holds_is_a_warning() -> None:
    changed = TEAMS.replace("payments-lead: [lena@example.com]", "payments-lead: []")
    assert warnings_of({"teams.yaml": changed}) == [
        "principals/refund-agent.yaml:17:53: nobody holds the role `payments-lead`; name a person in teams.yaml"
    ]


def test_that_nobody_answers_for_restrained_principals_is_a_warning() -> None:
    changed = TEAMS.replace("  owner: [pia@example.com]\n", "")
    assert warnings_of({"teams.yaml": changed}) == [
        (
            "teams.yaml:6:3: nobody holds the role `owner`, who answers for the calls of restrained principals; "
            "name a person: `owner: [sam@example.com]`"
        )
    ]


def test_a_grant_on_data_that_the_charter_does_not_name_is_a_warning() -> None:
    changed = PRINCIPAL.replace("data: [customer-pii]\n", "")
    assert warnings_of({"principals/refund-agent.yaml": changed}) == [
        (
            "principals/refund-agent.yaml:12:14: this touches `customer-pii`, which is not in the charter's `data`, "
            "so such calls are denied; add `customer-pii` to `data` if it is meant to"
        )
    ]


def test_a_grant_across_environments_is_a_warning() -> None:
    changed = PRINCIPAL.replace("environment: production", "environment: sandbox")
    assert warnings_of({"principals/refund-agent.yaml": changed}) == [
        (
            "principals/refund-agent.yaml:12:13: `refund-agent` runs in sandbox and `payments` in production, "
            "so its calls are denied; environments are kept apart; grant its counterpart"
        )
    ]


# --- cross-checks that need more than one wrong word ---


def test_delegation_may_name_another_principal() -> None:
    files = another_principal("helper", **{"from: [humans]": "from: [refund-agent]"})
    assert "helper" in an_estate(dict(files)).charters


def test_every_action_is_a_star_alone() -> None:
    files = another_principal("helper", **{"[charge.read, refund.create]": '["*"]'})
    estate = an_estate(dict(files))
    granted = estate.systems["payments"].value.granted(estate.charters["helper"].value.grants[0])
    assert granted == ("charge.read", "refund.create")


def test_a_plain_number_needs_no_declared_amount() -> None:
    files = another_principal("helper", **{"amount: {max: 200 EUR}": "amount: {max: 200 EUR}, rows: {max: 10}"})
    assert "helper" in an_estate(dict(files)).charters


def test_an_amount_with_a_unit_that_no_action_has_is_refused() -> None:
    system = SYSTEM.replace("    amounts: {amount: {value: amount, unit: currency}}\n", "")
    found = problems_of(estate_files({"systems/payments.yaml": system}))
    assert found[0].endswith("no action of this grant has an amount `amount`; declare it in systems/payments.yaml")
    assert len(found) == 3


def test_the_owner_role_is_the_one_that_policy_asks() -> None:
    from charter.policy.builtin import RESTRAINED_ROLE

    assert crosscheck.OWNER_ROLE == RESTRAINED_ROLE


_PIECES = st.sampled_from(
    ["charter: v1\n", "grants:\n", "  - system: x\n", "{", "}", "[", "a: ", "\n", '"', "- ", "\u202e"]
)


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(FILES)), st.integers(0, 900), st.integers(0, 40), st.lists(_PIECES, max_size=4).map("".join)
)
def test_a_file_damaged_anywhere_makes_an_estate_or_an_estate_error(path: str, at: int, cut: int, put: str) -> None:
    damaged = FILES[path][:at] + put + FILES[path][at + cut :]
    found: tuple[object, ...] = ()
    try:
        parse_estate(FILES | {path: damaged})
    except EstateError as err:
        found = err.problems
    assert all(str(problem).isprintable() for problem in found)


class Writer:
    """Somebody who writes a file of an estate while it is read, so often."""

    def __init__(self, file: Path, times: int) -> None:
        self.file, self.left = file, times

    def read(self, data: bytes, path: str) -> str:
        if path == TEAMS_FILE and self.left:
            self.left -= 1
            self.file.write_text(self.file.read_text(encoding="utf-8") + "# and more\n", encoding="utf-8")
        return read_text(data, path)


TEAMS_FILE = "teams.yaml"


@pytest.mark.parametrize(("times", "is_read"), [(0, True), (1, True), (2, True), (3, False)])
def test_files_that_are_written_meanwhile_are_read_again_and_no_half_of_them_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, is_read: bool
) -> None:
    folder = write_files(tmp_path, estate_files())
    writer = Writer(folder / "principals/refund-agent.yaml", times)
    monkeypatch.setattr(manifest, "read_text", writer.read)
    if is_read:
        files = read_files(folder)
        assert files["principals/refund-agent.yaml"].count("# and more") == times
        return
    with pytest.raises(EstateError) as caught:
        read_files(folder)
    (problem,) = caught.value.problems
    assert str(problem).endswith(
        "the files changed each time that they were read; wait until nothing writes there, and try again"
    )


def test_a_file_that_goes_away_while_it_is_read_is_no_reason_to_plan_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_files(tmp_path, estate_files())
    read = {"count": 0}

    def reading(data: bytes, path: str) -> str:
        read["count"] += 1
        if read["count"] == 1:
            (folder / "principals/refund-agent.yaml").rename(folder / "principals/another.yaml")
        return read_text(data, path)

    monkeypatch.setattr(manifest, "read_text", reading)
    files = read_files(folder)
    assert {name for name in files if name.startswith("principals/")} == {"principals/another.yaml"}
