"""What someone who may write estate files, or only parts of them, must not get by trickery."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from builders import a_charter, a_system
from charter.core.errors import MalformedError
from charter.registry.document import read_document
from charter.registry.manifest import load_estate, parse_estate
from charter.registry.pattern import CharterPattern, render
from charter.registry.problem import EstateError
from estates import FILES, PATTERN, PRINCIPAL, SYSTEM, another_principal, estate_files, write_files

TODAY = dt.date(2026, 11, 24)

P, S = "principals/refund-agent.yaml", "systems/payments.yaml"


def refused(files: dict[str, str]) -> str:
    with pytest.raises(EstateError) as caught:
        parse_estate(files)
    return "\n".join(map(str, caught.value.problems))


def test_a_link_cannot_bring_a_file_from_outside_into_the_estate(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("password: hunter2\n", encoding="utf-8")
    write_files(tmp_path / "estate", FILES)
    (tmp_path / "estate/systems/leak.yaml").symlink_to(tmp_path / "secret")
    with pytest.raises(EstateError) as caught:
        load_estate(tmp_path / "estate")
    told = "\n".join(map(str, caught.value.problems))
    assert told == "systems/leak.yaml:1:1: this link leads out of the estate; put the file itself here"


def test_a_linked_folder_cannot_either(tmp_path: Path) -> None:
    write_files(tmp_path / "outside", {"env.cedar": "permit (principal, action, resource);"})
    write_files(tmp_path / "estate", estate_files({"guardrails/environments.cedar": None}))
    (tmp_path / "estate/guardrails").symlink_to(tmp_path / "outside")
    with pytest.raises(EstateError, match="leads out of the estate"):
        load_estate(tmp_path / "estate")


def test_an_alias_bomb_is_refused_before_it_is_opened() -> None:
    bomb = "a: &a [x, x, x]\n" + "".join(
        f"{n}: &{n} [*{p}, *{p}, *{p}]\n" for p, n in zip("abcdefg", "bcdefgh", strict=True)
    )
    with pytest.raises(EstateError, match="is not allowed"):
        read_document(bomb.encode(), "f.yaml")


def test_a_look_alike_name_cannot_pass_for_another_principal() -> None:
    twin = "refund-\u0430gent"  # a Cyrillic a
    assert "has '\\u0430'" in refused(FILES | {P: PRINCIPAL.replace("refund-agent", twin)})
    assert "is no file of an estate" in refused(FILES | another_principal(twin))


def test_text_cannot_be_shown_in_another_order_than_it_is_read() -> None:
    assert "U+202E" in refused(FILES | {P: PRINCIPAL.replace("# ", "") + "# \u202e approved by all\n"})
    assert "direction-changing" in refused(FILES | {P: PRINCIPAL.replace("Refund small", '"\\u202eall" # ')})


def test_a_message_about_a_file_cannot_command_a_terminal() -> None:
    told = refused(FILES | {P: PRINCIPAL.replace("kind: agent", 'kind: "\\e[2J\\e]0;pwned\\a"')})
    assert "\x1b" not in told
    assert "\\x1b" in told


def test_a_second_grants_cannot_hide_behind_the_first() -> None:
    hidden = PRINCIPAL + 'grants: [{system: payments, actions: ["*"]}]\n'
    assert "`grants` is written twice" in refused(FILES | {P: hidden})


def test_one_principal_cannot_be_written_in_two_files() -> None:
    assert "must be called refund-agent.yaml" in refused(FILES | {"principals/shadow.yaml": PRINCIPAL})


def test_an_owner_cannot_approve_their_own_charter() -> None:
    own = PRINCIPAL.replace("by: alex@example.com", "by: maria@example.com")
    assert "owns `refund-agent` and cannot approve" in refused(FILES | {P: own})


def test_a_wildcard_cannot_stand_for_actions_that_sort_together() -> None:
    for wanted in ("charge.*", "*.create", "**", "re?und.create"):
        with pytest.raises(ValidationError):
            a_charter(grants=[{"system": "payments", "actions": [wanted]}])


def test_a_patterns_value_cannot_add_a_grant() -> None:
    pattern = CharterPattern.model_validate(read_document(PATTERN.encode(), "p.yaml").value)
    value = "eu\ngrants: [{system: payments, actions: [refund.create]}]\n#"
    with pytest.raises(MalformedError):
        render(pattern, {"principal": value}, TODAY)
    with pytest.raises(MalformedError):
        render(pattern, {"principal": "eu", "owner": "maria@example.com, team: security}\n#"}, TODAY)


def test_a_tool_cannot_be_two_actions_with_two_effects() -> None:
    actions = json.loads(json.dumps(a_system().to_json()["actions"]))
    actions["harmless.read"] = {"tool": "create_refund", "effect": "read"}
    with pytest.raises(ValidationError, match="serves both"):
        a_system(actions=actions)


KEY = "sk-" + "a1B2" * 8


@pytest.mark.parametrize(
    ("upstream", "where"),
    [
        ({"transport": "stdio", "command": ["x"], "env": {"API_KEY": KEY}}, "8:71"),
        ({"transport": "stdio", "command": ["x", "--key", KEY]}, "8:60"),
        ({"transport": "http", "url": "https://user:hunter2@example.com/mcp"}, "8:40"),
    ],
)
def test_a_secret_cannot_be_left_in_an_estate_and_is_not_repeated(upstream: dict[str, object], where: str) -> None:
    old = 'upstream: {transport: http, url: "http://127.0.0.1:9/mcp"}'
    told = refused(FILES | {S: SYSTEM.replace(old, f"upstream: {json.dumps(upstream)}")})
    assert told.startswith(f"{S}:{where}: this looks like a secret, which an estate must not hold; ")
    assert KEY not in told
    assert "hunter2" not in told


def test_an_estate_that_lost_its_files_does_not_withdraw_everyone(tmp_path: Path) -> None:
    (tmp_path / "principals").mkdir()
    with pytest.raises(EstateError, match=r"the estate has no teams\.yaml"):
        load_estate(tmp_path)
