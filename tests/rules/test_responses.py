"""Rules of responses.yaml: read strictly, with places; the firmest that fits counts; none can give anything."""

from __future__ import annotations

import datetime as dt
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter.behaviour.signal import Feature
from charter.registry.central import read_central
from charter.registry.hold import Held
from charter.registry.problem import EstateError
from charter.registry.response import RESPONSES, Response, ResponseFile, ResponseRule, Watched, firmest
from charter.registry.sourced import TextFile
from charter.registry.standing import Standing

GOOD = """\
charter: v1
rules:
  - id: left-its-mission
    for: {environments: [production]}
    when: {features: [object, purpose], score: 20, effects: [write, irreversible]}
    then: restrain
    expires: 4h
    reason: a person looks first
"""


def read(text: str) -> ResponseFile:
    return read_central([TextFile(RESPONSES, text)]).responses.value


def test_a_file_of_rules_is_read() -> None:
    (rule,) = read(GOOD).rules
    assert (rule.then, rule.expires, rule.when.score) == (Response.RESTRAIN, dt.timedelta(hours=4), 20)
    assert rule.ends == "after 4h"


@pytest.mark.parametrize(
    ("change", "text", "line"),
    [
        (("then: restrain", "then: resume"), "resume", 6),
        (("then: restrain", "then: restrian"), "restrain", 6),
        (("    expires: 4h\n", ""), "needs an end", 3),
        (("    expires: 4h\n", "    expires: 4h\n    release: person\n"), "needs an end", 3),
        (("then: restrain", "then: notify"), "holds nothing", 7),
        (("then: restrain", "then: kill"), "is final", 7),
        (("expires: 4h", "expires: 40d"), "31 days", 7),
        (("expires: 4h", "expires: 30s"), "a minute", 7),
        (("score: 20", "score: 0"), "score", 5),
        (("score: 20, ", ""), "score", 5),
        (("[object, purpose]", "[objekt]"), "object", 5),
        (("    reason: a", "    gives: authority\n    reason: a"), "gives", 8),
    ],
)
def test_what_is_wrong_is_told_with_its_place(change: tuple[str, str], text: str, line: int) -> None:
    with pytest.raises(EstateError) as told:
        read(GOOD.replace(*change))
    problem = told.value.problems[0]
    assert text in f"{problem}"
    assert problem.line == line


def test_two_rules_of_one_name_are_refused() -> None:
    again = GOOD + GOOD.split("rules:\n")[1]
    with pytest.raises(EstateError, match="rename one"):
        read(again)


def test_features_of_rules_are_those_of_signals() -> None:
    assert [each.value for each in Watched] == [each.value for each in Feature]


def a_rule(then: Response, *, expires: str | None = "1h", release: str | None = None) -> ResponseRule:
    is_hold = then.floor is not None
    told = {"id": then.value, "when": {"score": 10}, "then": then.value, "reason": "a test"}
    ends = {"release": release} if release else {"expires": expires}
    return ResponseRule.model_validate(told | (ends if is_hold else {}))


@given(st.lists(st.sampled_from(list(Response)), min_size=1, max_size=6))
def test_the_firmest_rule_counts(thens: list[Response]) -> None:
    found = firmest([a_rule(each) for each in thens])
    assert found is not None
    assert not any(each.is_firmer_than(found.then) for each in thens)


def test_of_two_as_firm_the_one_that_lasts_counts() -> None:
    short, long = a_rule(Response.SUSPEND), a_rule(Response.SUSPEND, expires="2d")
    person = a_rule(Response.SUSPEND, release="person")
    assert firmest([short, long]) is long
    assert firmest([person, long]) is person


@pytest.mark.parametrize(("then", "chosen"), list(product(Response, Standing)))
def test_no_response_ever_gives_anything(then: Response, chosen: Standing) -> None:
    """Whatever a standing was, a response leaves it as it was or worse, and its end gives back no more than it took."""
    worse = [Standing.ACTIVE, Standing.RESTRAINED, Standing.SUSPENDED, Standing.REVOKED, Standing.RETIRED]
    if then.floor is None:
        assert then in (Response.NOTIFY, Response.KILL)
        return
    held = Held(chosen).with_floor("fnd_1", then.floor)
    assert worse.index(held.standing) >= worse.index(chosen)
    assert held.without("fnd_1").standing is chosen
