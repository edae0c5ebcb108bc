"""What the pages say, what their forms do, and how errors are told."""

from __future__ import annotations

import re
from typing import Any

import pytest

from charter.core.errors import ErrorCode, UnavailableError
from charter.registry.standing import Move
from desks import Caller, FakeDesk, a_lease, an_approval, text_of

KILL = "/principals/refund-agent/kill"
APPROVAL = "/approvals/apr_00000000000000000000000001"


@pytest.fixture
def caller() -> Caller:
    return Caller().sign_in()


# --- signing in -------------------------------------------------------------------------------------------------------


def test_without_a_session_the_sign_in_page_says_what_to_run() -> None:
    caller = Caller()

    redirect, page = caller.get("/principals/refund-agent"), caller.get("/sign-in")

    assert (redirect.status_code, redirect.headers["location"]) == (303, "/sign-in")
    assert "<code>charter console</code>" in page.text
    assert "prints a link that signs you in" in text_of(page.text)


def test_a_link_is_looked_at_by_get_and_redeemed_by_post() -> None:
    caller = Caller()
    path = caller.signin.link().removeprefix("http://127.0.0.1:8420")

    previews = [caller.get(path) for _ in range(3)]
    caller.sign_in(caller.signin.address.origin + path)

    assert all("maria@example.com" in page.text and "set-cookie" not in page.headers for page in previews)
    assert caller.get("/").status_code == 200
    assert "used already" in caller.get(path).text


def test_who_signs_in_is_recorded_before_they_are_let_in() -> None:
    caller = Caller()
    caller.source = "127.0.0.7"

    caller.sign_in()

    assert caller.desk.signins == [("maria@example.com", "127.0.0.7")]


def test_a_sign_in_that_cannot_be_recorded_lets_nobody_in() -> None:
    caller = Caller()
    caller.desk.unrecorded = UnavailableError(ErrorCode.STORE_FAILED, "the log cannot be written")
    path = caller.signin.link().removeprefix("http://127.0.0.1:8420")

    answer = caller.post(path)

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "set-cookie" not in answer.headers
    assert not caller.signin._sessions


def test_signing_out_ends_the_session_and_drops_the_cookie(caller: Caller) -> None:
    answer = caller.post("/sign-out")

    assert answer.headers["set-cookie"].startswith("charter=; Path=/; Max-Age=0")
    assert caller.get("/").headers["location"] == "/sign-in"


def test_who_is_signed_in_is_led_on_from_the_sign_in_page(caller: Caller) -> None:
    assert caller.get("/sign-in").headers["location"] == "/"


def test_over_an_unencrypted_network_the_page_warns() -> None:
    assert "not encrypted" in Caller(issuer="http://10.1.2.3:8420").get("/sign-in").text
    assert "not encrypted" not in Caller().get("/sign-in").text


# --- inventory --------------------------------------------------------------------------------------------------------


def test_the_inventory_shows_every_field_of_a_principal(caller: Caller) -> None:
    row = text_of(next(r for r in caller.get("/").text.split("<tr>") if "refund-agent" in r))

    for fact in (
        "Refund small disputed card charges",
        "agent in production",
        "anthropic claude-*",
        "maria @example.com",
        "payments-ops",
        "payments, ledger",
        "customer-pii",
        "irreversibly",
        "payments-risk",
        "private-key-jwt",
        "active",
        "2027-11-02",
        "2027-01-31",
    ):
        assert fact in row


def test_what_is_overdue_is_said_in_words(caller: Caller) -> None:
    row = text_of(next(r for r in caller.get("/").text.split("<tr>") if "price-watch" in r))

    assert "2026-10-01 54 days ago" in row
    assert "2026-05-30 178 days ago" in row


@pytest.mark.parametrize(
    ("query", "tally", "shown", "hidden"),
    [
        ("?standing=revoked", "1 of 7 principals", "price-watch", "refund-agent"),
        ("?team=finance&kind=workflow", "1 of 7 principals", "invoice-workflow", "price-watch"),
        ("?text=ledger", "1 of 7 principals", "refund-agent", "fraud-scoring"),
        ("?text=&kind=", "7 of 7 principals", "refund-agent", "no principal fits"),
    ],
)
def test_filters_narrow_the_table(caller: Caller, query: str, tally: str, shown: str, hidden: str) -> None:
    page = caller.get("/" + query).text

    assert tally in text_of(page)
    assert f'href="/principals/{shown}"' in page
    assert f'href="/principals/{hidden}"' not in page


def test_filters_that_fit_nobody_say_so(caller: Caller) -> None:
    assert "No principal fits these filters" in caller.get("/?text=zzz").text


def test_an_empty_inventory_says_what_to_do_next(caller: Caller) -> None:
    caller.desk.principals = {}

    page = text_of(caller.get("/").text)

    assert "No principal is registered yet" in page
    assert "charter plan" in page
    assert "charter apply" in page


def test_a_large_inventory_comes_in_pages_that_keep_the_filters(caller: Caller) -> None:
    first = caller.desk.principals["refund-agent"]
    caller.desk.principals = {n: first | {"name": n} for n in (f"agent-{i:03}" for i in range(250))}

    pages = [caller.get(f"/?team=payments-ops&page={n}").text for n in (1, 2, 3, 99)]

    assert [page.count("<tr>") - 1 for page in pages] == [100, 100, 50, 50]
    assert "team=payments-ops" in pages[0].partition('aria-label="More principals"')[2]
    assert "page 3 of 3" in pages[3]


def test_a_list_that_ends_early_says_so_and_its_filters_still_find_everyone(caller: Caller) -> None:
    caller.desk.most = 2

    page, found, named = caller.get("/").text, caller.get("/?standing=restrained").text, caller.get("/?text=zeta").text

    assert "the first 2 names of 7" in text_of(page)
    assert "2 of 7 principals" in text_of(page)
    assert 'href="/principals/repo-helper"' in found
    assert '<a href="/principals/zeta">Open zeta</a>' in named


@pytest.mark.parametrize("page", ["0", "-1", "x", "", "9" * 300])
def test_a_page_number_that_is_none_is_taken_as_an_end(caller: Caller, page: str) -> None:
    assert caller.get(f"/?page={page}").status_code == 200


def test_a_node_that_is_not_well_says_so_on_every_page(caller: Caller) -> None:
    caller.desk.healthy = False

    assert all("not well" in caller.get(path).text for path in ("/", "/verdicts", "/approvals", "/review"))


# --- one principal ----------------------------------------------------------------------------------------------------


def test_a_principals_page_says_who_it_is_and_what_it_may_do(caller: Caller) -> None:
    page = text_of(caller.get("/principals/refund-agent").text)

    for fact in (
        "spiffe://charter.local/production/agent/refund-agent",
        "version 3",
        "by alex@example.com as payments-risk on 2026-11-02",
        "between 08:00 and 18:00 Europe/Berlin",
        "approval by payments-lead if amount more than 100 EUR",
        "People may lend it authority for dispute-handling",
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        "guardrail no-night-writes forbids writes between 22:00 and 06:00",
        "repeat the call after 06:00",
        "principals/refund-agent.yaml:12:5",
        "permit ( principal ==",
        "double charge",
    ):
        assert fact in page


def test_a_principal_without_grants_keys_or_calls_says_so(caller: Caller) -> None:
    page = text_of(caller.get("/principals/price-watch").text)

    assert "its charter grants nothing, so every call is denied" in page
    assert "No key is registered" in page
    assert "No call of it has been decided yet" in page


def test_a_principals_page_lists_the_credentials_leased_to_it(caller: Caller) -> None:
    caller.desk.leases = [a_lease(), a_lease(2, principal="repo-helper")]

    page = text_of(caller.get("/principals/refund-agent").text)

    for fact in (a_lease()["id"], "orders-db", "issued", "rows.read on sales.orders", "09:45"):
        assert fact in page
    assert a_lease(2)["id"] not in page


def test_a_credential_that_outlives_its_lease_is_told_on_every_page(caller: Caller) -> None:
    caller.desk.leases = [a_lease(state="revoking", overdue=True, error="<b>connection refused</b>")]

    pages = [caller.get(path).text for path in ("/", "/verdicts", "/approvals", "/review", "/principals/refund-agent")]

    assert all("Credentials outlive their leases: 1" in page for page in pages)
    assert "&lt;b&gt;connection refused" in pages[-1]


def test_only_moves_that_are_legal_are_offered(caller: Caller) -> None:
    assert re.findall(r'class="button (\w+)"', caller.get("/principals/price-watch").text) == ["retire"]


@pytest.mark.parametrize("path", ["/principals/nobody", "/principals/nobody/kill"])
def test_an_unknown_principal_is_not_found(caller: Caller, path: str) -> None:
    answer = caller.get(path)

    assert answer.status_code == 404
    assert "there is no principal <code>nobody</code>" in answer.text.lower()
    assert "charter ls" in answer.text.lower()


# --- moves ------------------------------------------------------------------------------------------------------------


def test_the_page_before_a_kill_says_what_it_does_and_changes_nothing(caller: Caller) -> None:
    page = text_of(caller.get(KILL).text)

    assert "Its authority ends for good" in page
    assert "There is no way back" in page
    assert "Type refund-agent to confirm" in page
    assert caller.desk.asked == []


def test_a_kill_needs_the_name_and_a_reason_and_shows_its_steps(caller: Caller) -> None:
    answer = caller.post(KILL, name="refund-agent", reason="paid the wrong account")

    page = text_of(answer.text)
    assert caller.desk.asked == [("refund-agent", Move.KILL, "maria@example.com", "paid the wrong account")]
    assert "refund-agent is revoked" in page
    assert "0.41 ms standing and epoch changed, durably" in page
    assert "0.77 ms 1 open stream ended" in page


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "refund-agents", "reason": "because"}, "the name you typed is not this principal"),
        ({"name": "", "reason": "because"}, "the name you typed is not this principal"),
        ({"reason": "because"}, "the name you typed is not this principal"),
        ({"name": "refund-agent", "reason": "  "}, "the reason is missing"),
        ({"name": "refund-agent"}, "the reason is missing"),
        ({"name": "refund-agent", "reason": "x" * 1001}, "the reason is longer than 1000 characters"),
        ({"name": "refund-agent", "reason": "a\u202eb"}, "the reason holds a control"),
    ],
)
def test_a_kill_that_is_not_confirmed_does_nothing(caller: Caller, fields: dict[str, str], said: str) -> None:
    answer = caller.post(KILL, **fields)

    assert answer.status_code == 400
    assert said in text_of(answer.text).replace("The ", "the ")
    assert caller.desk.asked == []


def test_a_form_sent_back_keeps_what_was_typed(caller: Caller) -> None:
    answer = caller.post(KILL, name="refund-agnet", reason="paid <twice>")

    assert 'value="refund-agnet"' in answer.text
    assert ">paid &lt;twice&gt;</textarea>" in answer.text


@pytest.mark.parametrize("move", ["restrain", "suspend"])
def test_a_move_one_can_take_back_needs_a_reason_only(caller: Caller, move: str) -> None:
    answer = caller.post(f"/principals/refund-agent/{move}", reason="looks odd")

    assert answer.status_code == 200
    assert [deed[1].value for deed in caller.desk.asked] == [move]


def test_a_move_that_is_not_legal_any_more_is_a_conflict(caller: Caller) -> None:
    caller.post(KILL, name="refund-agent", reason="first")

    asked, made = caller.get(KILL), caller.post(KILL, name="refund-agent", reason="second")

    assert "from there one cannot kill" in text_of(asked.text)
    assert made.status_code == 409
    assert "`refund-agent` is revoked and cannot kill" in made.text
    assert len(caller.desk.asked) == 1


# --- verdicts ---------------------------------------------------------------------------------------------------------


def indexes(html: str) -> list[int]:
    return [int(n) for n in re.findall(r'data-index="(\d+)"', html)]


def test_verdicts_come_newest_first(caller: Caller) -> None:
    assert indexes(caller.get("/verdicts").text) == [12, 9, 6, 3, 0]


def test_verdicts_are_filtered_by_principal_and_verdict(caller: Caller) -> None:
    caller.desk.add_verdict("deny", principal="repo-helper")

    assert indexes(caller.get("/verdicts?verdict=deny").text) == [15, 9]
    assert indexes(caller.get("/verdicts?principal=repo-helper").text) == [15]
    assert "No verdict fits" in caller.get("/verdicts?principal=repo-helper&verdict=allow").text


def test_the_live_page_asks_for_what_came_after_and_keeps_its_filters(caller: Caller) -> None:
    page = caller.get("/verdicts?principal=refund-agent&verdict=deny").text

    assert 'hx-get="/verdicts/new?after=12&amp;principal=refund-agent&amp;verdict=deny"' in page


def test_new_verdicts_come_as_rows_with_the_next_cursor(caller: Caller) -> None:
    caller.desk.add_verdict("deny")
    caller.desk.add_verdict("allow")

    fragment = caller.get("/verdicts/new?after=12").text

    assert indexes(fragment) == [18, 15]
    assert "after=18" in fragment
    assert "2 new: 1 deny, 1 allow" in text_of(fragment)
    assert "<html" not in fragment


def test_when_nothing_is_new_only_the_cursor_comes(caller: Caller) -> None:
    fragment = caller.get("/verdicts/new?after=12").text

    assert indexes(fragment) == []
    assert "hx-swap-oob" not in fragment


def test_a_flood_jumps_to_the_newest_and_says_so(caller: Caller) -> None:
    for _ in range(450):
        caller.desk.add_verdict()

    fragment = caller.get("/verdicts/new?after=12").text

    assert len(indexes(fragment)) == 100
    assert indexes(fragment)[0] == 454 * 3
    assert "More came than fits" in fragment
    assert 'hx-swap-oob="innerHTML:#rows"' in fragment


@pytest.mark.parametrize("query", ["after=", "after=x", "after=-2", "after=1.5", "after=" + "9" * 19, "nothing=1"])
def test_a_cursor_that_is_none_is_refused(caller: Caller, query: str) -> None:
    assert caller.get(f"/verdicts/new?{query}").status_code == 400


@pytest.mark.parametrize("query", ["verdict=maybe", "principal=Not%20A%20Name", "principal=%3Cscript%3E"])
def test_filters_that_mean_nothing_are_refused(caller: Caller, query: str) -> None:
    assert caller.get(f"/verdicts?{query}").status_code == 400


def test_a_story_tells_all_evidence_of_one_verdict(caller: Caller) -> None:
    page = text_of(caller.get("/verdicts/vrd_00000000000000000000000004").text)

    assert "verdict entry 9, 2026-11-24 09:30:03" in page
    assert "deny: guardrail no-night-writes" in page
    assert "answered in 12 ms" in page
    assert "charter evidence prove 9" in page


def test_the_story_leads_to_why_with_each_condition_and_its_value(caller: Caller) -> None:
    story = "/verdicts/vrd_00000000000000000000000004"
    assert f'href="{story}/why"' in caller.get(story).text
    page = text_of(caller.get(f"{story}/why").text)

    assert "not met: `amount` up to 200 EUR this call asks 350 EUR" in page
    assert "met: objects like `charge/*` this call is for `charge/ch_1`" in page
    assert "not asked: when principal.restrained" in page
    assert "What would make it allowed ask for less" in page
    assert "by what held then: the same, by the same rules" in page


@pytest.mark.parametrize("verdict_id", ["vrd_unknown", "vrd_" + "0" * 41, "apr_1", "x", "VRD_1"])
def test_an_unknown_verdict_is_not_found(caller: Caller, verdict_id: str) -> None:
    assert caller.get(f"/verdicts/{verdict_id}").status_code == 404
    assert caller.get(f"/verdicts/{verdict_id}/why").status_code == 404


# --- approvals --------------------------------------------------------------------------------------------------------


def test_an_approval_shows_the_exact_call_unshortened(caller: Caller) -> None:
    long = "very long " * 500
    call: dict[str, Any] = an_approval()["call"]
    caller.desk.waiting["apr_00000000000000000000000001"]["call"] = call | {
        "arguments": {"note": long, "deep": {"a": [1]}}
    }

    page = caller.get("/approvals").text

    assert long in page
    assert "&#34;a&#34;: [\n    1\n  ]" in page
    assert "irreversible" in page


def test_an_address_of_one_approval_shows_that_alone(caller: Caller) -> None:
    assert "apr_00000000000000000000000001" in caller.get("/approvals?of=apr_00000000000000000000000001").text
    for other in ("apr_00000000000000000000000002", "%3Cscript%3E", "../x"):
        page = caller.get(f"/approvals?of={other}").text
        assert "Nothing waits for a person" in page
        assert "script>" not in page.partition("<main")[2]


def test_a_yes_lets_one_call_through_in_the_name_of_the_person(caller: Caller) -> None:
    answer = caller.post(APPROVAL, answer="approve", person="lena@example.com", reason="checked the ticket")

    assert caller.desk.asked == [("apr_00000000000000000000000001", True, "lena@example.com", "checked the ticket")]
    assert "The call is approved" in text_of(answer.text)
    assert "can repeat exactly this call, once, until 2026-11-25 09:30:00" in text_of(answer.text)
    assert "Nothing waits for a person" in caller.get("/approvals").text
    assert "approved" in caller.get("/approvals?all=1").text


def test_a_yes_that_changes_nothing_as_yet_says_so(caller: Caller) -> None:
    caller.desk.waiting["apr_00000000000000000000000001"]["denied"] = "its charter has no grant for it"
    page = text_of(caller.post(APPROVAL, answer="approve", person="lena@example.com", reason="checked").text)
    assert "The yes is kept, and changes nothing as things are: its charter has no grant for it" in page
    assert "can repeat exactly this call" not in page


def test_a_no_is_recorded_too(caller: Caller) -> None:
    answer = caller.post(APPROVAL, answer="refuse", person="maria@example.com", reason="not ours")

    assert caller.desk.asked[0][1] is False
    assert "The call is refused" in text_of(answer.text)


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"answer": "approve", "person": "jon@example.com", "reason": "x"}, 403, "does not hold the role"),
        ({"answer": "maybe", "person": "lena@example.com", "reason": "x"}, 400, "answer is missing"),
        ({"person": "lena@example.com", "reason": "x"}, 400, "answer is missing"),
        ({"answer": "approve", "person": "", "reason": "x"}, 400, "person is missing"),
        ({"answer": "approve", "person": "lena@example.com"}, 400, "reason is missing"),
        ({"answer": "approve", "person": "l" * 255, "reason": "x"}, 400, "person is longer"),
    ],
)
def test_an_answer_that_does_not_count_changes_nothing(
    caller: Caller, fields: dict[str, str], status: int, said: str
) -> None:
    answer = caller.post(APPROVAL, **fields)

    assert answer.status_code == status
    assert said in answer.text
    assert caller.desk.waiting["apr_00000000000000000000000001"]["state"] == "waiting"


def test_an_answer_that_comes_too_late_says_so(caller: Caller) -> None:
    caller.desk.waiting["apr_00000000000000000000000001"]["state"] = "cancelled"

    answer = caller.post(APPROVAL, answer="approve", person="lena@example.com", reason="x")

    assert answer.status_code == 409
    assert "is cancelled" in answer.text


def test_refusing_stands_first_so_that_the_enter_key_says_no(caller: Caller) -> None:
    page = caller.get("/approvals").text

    assert page.index('value="refuse"') < page.index('value="approve"')


@pytest.mark.parametrize("approval_id", ["apr_1", "apr_" + "0" * 41, "x", "..%2fapr_1"])
def test_an_unknown_approval_is_not_found(caller: Caller, approval_id: str) -> None:
    answer = caller.post(f"/approvals/{approval_id}", answer="approve", person="lena@example.com", reason="x")

    assert answer.status_code == 404


# --- review and errors ------------------------------------------------------------------------------------------------


def test_the_review_answers_five_questions_with_their_queries(caller: Caller) -> None:
    page = caller.get("/review").text

    assert len(re.findall(r'<h2 id="q\d"', page)) == 5
    assert page.count("<bdi>refund-agent</bdi></a><bdi> made 81 % of the calls</bdi>") == 4
    assert page.count("None in this period.") == 1
    assert page.count("<summary>The figures</summary>") == 4
    assert page.count("SELECT principal") == 5
    assert 'href="/principals/repo-helper"' in page


def test_the_review_is_narrowed_by_period_team_system_and_kind(caller: Caller) -> None:
    page = caller.get("/review?since=30d&team=platform&kind=agent&system=&until=").text

    assert caller.desk.reviewed == {"since": "30d", "team": "platform", "kind": "agent"}
    assert 'name="since" value="30d"' in page
    assert "<option selected>agent</option>" in page


def test_what_breaks_is_told_without_a_trace(caller: Caller) -> None:
    caller.desk.broken = ValueError("secret detail")

    answer = caller.get("/review")

    assert answer.status_code == 500
    assert "Something broke inside Charter" in answer.text
    assert "secret detail" not in answer.text
    assert "Traceback" not in answer.text


def test_a_house_that_is_not_available_is_told_as_that(caller: Caller) -> None:
    caller.desk.broken = UnavailableError(
        ErrorCode.STORE_FAILED, "the store is gone", help="start it", retry_after_seconds=7
    )

    answer = caller.get("/")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert "The store is gone" in answer.text


def test_an_unknown_page_is_told_in_the_consoles_own_style(caller: Caller) -> None:
    answer = caller.get("/nothing/here")

    assert answer.status_code == 404
    assert '<link rel="stylesheet" href="/static/console.css">' in answer.text
    assert "There is no such page" in answer.text


def test_an_answer_that_expects_a_form_refuses_to_be_opened(caller: Caller) -> None:
    assert caller.get("/sign-out").status_code == 405


def test_the_desk_the_tests_use_is_a_desk() -> None:
    from charter.console.desk import Desk

    desk: Desk = FakeDesk()

    assert desk.status()["healthy"]


# --- compositions -----------------------------------------------------------------------------------------------------


def test_what_changed_is_told_on_every_page_until_someone_reviews_it(caller: Caller) -> None:
    assert "Not what was approved any more" not in caller.get("/").text
    caller.desk.pin()
    pages = [caller.get(path).text for path in ("/", "/verdicts", "/principals/refund-agent", "/compositions")]
    assert all("Not what was approved any more: 1." in page for page in pages)
    assert 'href="/compositions/refund-agent"' in pages[2]


def test_a_composition_says_of_each_part_who_attests_it(caller: Caller) -> None:
    caller.desk.pin()
    page = caller.get("/compositions/refund-agent").text
    assert "nobody: declared by its charter" in page
    assert "and must be, so it gets no token" in page
    assert "the gateway" in page
    assert "May be accepted by <bdi>alex@example.com</bdi>" in page
    for digest in ("a" * 64, "b" * 64):
        assert f"sha256:{digest}" in page  # nothing that is to be compared is shortened


def test_the_change_that_was_shown_is_the_one_that_is_accepted(caller: Caller) -> None:
    made = caller.desk.pin()
    change = made["change"]
    form = {"person": "alex@example.com", "reason": "release 2.4", "change": change}
    stale = caller.post("/compositions/refund-agent/accept", **form | {"change": "sha256:" + "0" * 64})
    assert stale.status_code == 409
    assert "release 2.4" in stale.text  # what was typed stays
    wrong = caller.post("/compositions/refund-agent/accept", **form | {"person": "maria@example.com"})
    assert wrong.status_code == 403
    assert caller.desk.asked == []
    done = caller.post("/compositions/refund-agent/accept", **form)
    assert done.status_code == 200
    assert caller.desk.asked == [("accept", "refund-agent", change, "alex@example.com", "release 2.4")]
    assert "Nothing: as far as is known" in caller.get("/compositions/refund-agent").text


def test_a_review_without_a_reason_is_none(caller: Caller) -> None:
    made = caller.desk.pin()
    answer = caller.post(
        "/compositions/refund-agent/accept", person="alex@example.com", change=made["change"], reason=""
    )
    assert answer.status_code == 400
    assert caller.desk.asked == []


def test_a_change_that_nobody_may_review_says_whom_it_takes(caller: Caller) -> None:
    caller.desk.pin(reviewers=[])
    assert "Nobody may accept it yet" in caller.get("/compositions/refund-agent").text


@pytest.mark.parametrize("path", ["/compositions/price-watch", "/compositions/nobody", "/compositions/A"])
def test_what_is_not_pinned_has_no_page(caller: Caller, path: str) -> None:
    assert caller.get(path).status_code == 404


def test_where_nothing_is_pinned_the_list_says_what_to_write(caller: Caller) -> None:
    assert "No charter pins what its principal is made of" in caller.get("/compositions").text
