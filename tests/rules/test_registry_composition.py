"""What a principal is made of: parts, their digest, and each step between what was accepted and what is."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from builders import a_charter, a_system
from charter.core.errors import ConflictError
from charter.registry.attester import told_by, untold
from charter.registry.composed import Composed, Terms, accept, declare, pinned, see
from charter.registry.composition import OnChange, Part, composition_digest
from charter.registry.compositions import declared_parts, is_model_of, terms_of
from charter.registry.hold import Held, read_held, write_held
from charter.registry.issuer import TrustedIssuer
from charter.registry.standing import Standing

AT = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)
A, B, C = ("sha256:" + sign * 64 for sign in "abc")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TERMS = Terms(OnChange.RESTRAIN, "payments-risk")


def a_composition(**parts: str) -> Composed:
    return pinned("prn_1", TERMS, {part: (value,) for part, value in parts.items()}, by="alex@example.com", at=AT)


def seen(known: Composed, part: str, value: str, by: str = "the kernel") -> Composed:
    return see(known, part, value, by=by, at=AT)


def declared(known: Composed, by: str = "maria@example.com", **parts: str) -> Composed:
    given_ = {part: (value,) for part, value in parts.items()}
    return declare(known, TERMS, given_, by="the files applied", actor=by, at=AT)


def accepted(known: Composed) -> Composed:
    assert known.change
    return accept(known, known.change, by="alex@example.com", at=AT)


# --- what a charter may say ---


@pytest.mark.parametrize(
    ("composition", "why"),
    [
        ({}, "pins nothing"),
        ({"attested": ["program"], "tools": "granted"}, "what it must be is not said"),
        ({"model": "claude-*"}, "looks like a pattern"),
        ({"model": ["a", "a"]}, "names a value twice"),
        ({"program": "a" * 64}, "is no digest"),
        ({"program": "sha256:" + "A" * 64}, "is no digest"),
        ({"image": "sha256:" + "a" * 63}, "is no digest"),
        ({"commit": "main"}, "is no commit"),
        ({"commit": COMMIT[:12]}, "is no commit"),
        ({"tools": "all"}, "granted"),
        ({"program": []}, "holds 0 values"),
        ({"program": [f"sha256:{n:064x}" for n in range(17)]}, "holds 17 values"),
        ({"program": A, "on_change": "warn"}, "restrain"),
        ({"program": A, "attested": ["model"]}, "image"),
        ({"programme": A}, "Extra"),
    ],
)
def test_what_pins_nothing_or_not_exactly_is_refused(composition: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError) as told:
        a_charter(composition=composition)
    assert why in str(told.value)


def test_a_charter_with_a_composition_reads_back_as_it_was_written() -> None:
    charter = a_charter(composition={"program": [B, A], "tools": "granted", "attested": ["program"]})
    again = a_charter(composition=charter.to_json()["composition"])
    assert again == charter
    assert charter.to_json()["composition"]["program"] == [A, B]  # whatever the order, it is one composition
    assert charter.composition
    assert charter.composition.attested == (Part.PROGRAM,)


def test_a_charter_without_one_has_the_digest_it_always_had() -> None:
    assert "composition" not in a_charter().to_json()


def test_its_parts_are_what_it_names_and_the_tools_that_its_grants_name() -> None:
    system = a_system(actions={"charge.read": {"tool": "get_charge", "effect": "read", "pin": A}})
    charter = a_charter(
        composition={"model": ["claude-x", "claude-y"], "tools": "granted", "commit": COMMIT},
        model={"provider": "anthropic", "name": "claude-*"},
    )
    assert declared_parts(charter, {"payments": system}) == {
        "commit": (COMMIT,),
        "model": ("anthropic/claude-x", "anthropic/claude-y"),
        "tools.payments.get_charge": (A,),
    }
    assert declared_parts(a_charter(), {"payments": system}) == {}


def test_the_role_that_reviews_is_the_one_named_or_the_approvers() -> None:
    own = a_charter(composition={"program": A, "accepted_by": "payments-lead"})
    assert own.reviewer == "payments-lead"
    found = terms_of(a_charter(composition={"program": A, "on_change": "suspend"}))
    assert found == Terms(OnChange.SUSPEND, "payments-risk")


@pytest.mark.parametrize(
    ("pattern", "name", "is_one"),
    [
        ("claude-*", "claude-x", True),
        ("claude-*", "gpt-x", False),
        ("gpt-5", "gpt-5", True),
        ("gpt-5", "gpt-5x", False),
    ],
)
def test_a_pinned_model_is_one_that_the_charter_calls(pattern: str, name: str, *, is_one: bool) -> None:
    assert is_model_of(pattern, name) is is_one


# --- who can attest ---


def an_issuer(platform: str) -> TrustedIssuer:
    return TrustedIssuer.model_validate({"platform": platform, "issuer": "https://issuer.example.com"})


def test_a_github_token_tells_the_commit_and_the_workflows_own() -> None:
    claims = {"sha": COMMIT, "workflow_sha": "a" * 40, "job_workflow_sha": "b" * 40}
    assert told_by(an_issuer("github-actions"), claims) == {"commit": COMMIT, "workflow": "b" * 40}
    del claims["job_workflow_sha"]
    assert told_by(an_issuer("github-actions"), claims) == {"commit": COMMIT, "workflow": "a" * 40}


def test_a_gitlab_token_tells_the_commit_and_that_of_its_pipelines_file() -> None:
    assert told_by(an_issuer("gitlab"), {"sha": COMMIT, "ci_config_sha": "c" * 40}) == {
        "commit": COMMIT,
        "workflow": "c" * 40,
    }


def test_a_confidential_spaces_token_tells_the_image() -> None:
    claims = {"submods": {"container": {"image_digest": A}}}
    assert told_by(an_issuer("oidc"), claims) == {"image": A}


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"sha": ""},
        {"sha": "a" * 201},
        {"sha": "a\n"},
        {"sha": 7},
        {"sha": None},
        {"submods": {"container": A}},
        {"submods": []},
    ],
)
def test_what_a_token_does_not_tell_as_text_it_does_not_tell(claims: dict[str, Any]) -> None:
    for platform in ("github-actions", "oidc", "kubernetes"):
        assert told_by(an_issuer(platform), claims) == {}


def test_a_kubernetes_token_tells_nothing_of_an_image_whatever_stands_in_it() -> None:
    claims = {"kubernetes.io": {"pod": {"name": "a", "image": A}}, "image": A, "sha": COMMIT}
    assert told_by(an_issuer("kubernetes"), claims) == {}


@pytest.mark.parametrize(
    ("credential", "platform", "part", "why"),
    [
        ({"type": "private-key-jwt"}, None, "program", "nothing attests `program`"),
        ({"type": "spiffe"}, None, "program", "nothing attests `program`"),
        ({"type": "private-key-jwt"}, None, "commit", "a credential of the type private-key-jwt"),
        ({"type": "federated"}, "kubernetes", "image", "names no image"),
        ({"type": "federated"}, "aws", "commit", "AWS names a caller's role"),
        ({"type": "federated"}, "github-actions", "image", "nothing attests `image` for github-actions"),
    ],
)
def test_what_nobody_attests_cannot_be_asked_for(
    credential: dict[str, Any], platform: str | None, part: str, why: str
) -> None:
    value = COMMIT if part == "commit" else A
    charter = a_charter(credential=credential, composition={part: value, "attested": [part]})
    issuer = an_issuer(platform) if platform not in (None, "aws") else None
    if platform == "aws":
        issuer = TrustedIssuer.model_validate({"platform": "aws", "sts": "https://sts.eu-central-1.amazonaws.com"})
    ((index, text, mend),) = untold(charter, issuer)
    assert index == 0
    assert why in text
    assert "declared" in mend


def test_what_somebody_attests_can() -> None:
    spiffe = a_charter(
        credential={"type": "spiffe", "workloads": [{"uid": 1}]}, composition={"program": A, "attested": ["program"]}
    )
    assert list(untold(spiffe, None)) == []
    both = {"commit": COMMIT, "workflow": COMMIT, "attested": ["commit", "workflow"]}
    assert list(untold(a_charter(composition=both), an_issuer("github-actions"))) == []


# --- what changes ---


def test_the_digest_is_of_all_parts_and_of_nothing_else() -> None:
    one = a_composition(program=A, image=B)
    assert one.digest == composition_digest({"image": (B,), "program": (A,)})
    assert one.digest != a_composition(program=A).digest
    assert seen(one, "program", A).digest == one.digest


def test_what_is_seen_as_accepted_is_no_change_and_is_attested() -> None:
    found = seen(a_composition(program=A), "program", A)
    assert found.change is None
    assert found.attested_by("program")
    assert seen(found, "program", A) is found  # nothing new is nothing to write


def test_what_is_seen_otherwise_is_a_change_and_attested_no_more() -> None:
    found = seen(seen(a_composition(program=A), "program", A), "program", B)
    assert found.changes["program"].was == (A,)
    assert found.changes["program"].now == (B,)
    assert found.attested_by("program") is None
    assert found.digest_now == composition_digest({"program": (B,)})
    assert found.digest == composition_digest({"program": (A,)})


def test_what_is_not_pinned_is_not_noticed() -> None:
    known = a_composition(program=A)
    assert seen(known, "image", B) is known


def test_a_change_that_is_undone_still_waits_for_a_person() -> None:
    found = seen(seen(a_composition(program=A), "program", B), "program", A)
    assert found.change
    assert found.is_back("program")
    assert accepted(found).accepted == {"program": (A,)}


def test_another_value_is_another_change() -> None:
    one = seen(a_composition(program=A), "program", B)
    other = seen(one, "program", C)
    back = seen(one, "program", A)
    assert len({one.change, other.change, back.change}) == 3
    for moved in (other, back):
        with pytest.raises(ConflictError, match="another change"):
            accept(moved, str(one.change), by="alex@example.com", at=AT)


def test_an_accepted_change_counts_from_then_on_and_a_repeated_one_is_new() -> None:
    first = seen(a_composition(program=A), "program", B)
    now = accepted(first)
    assert (now.change, now.accepted, now.reviews) == (None, {"program": (B,)}, 1)
    assert seen(now, "program", B).change is None
    again = seen(accepted(seen(now, "program", A)), "program", B)
    assert again.change != first.change  # what was accepted once is not accepted for ever


def test_nothing_that_waits_is_nothing_to_accept() -> None:
    with pytest.raises(ConflictError, match="no change"):
        accept(a_composition(program=A), "sha256:" + "0" * 12, by="alex@example.com", at=AT)


def test_files_that_declare_otherwise_are_a_change_and_files_that_do_not_are_none() -> None:
    known = a_composition(program=A, commit=COMMIT)
    assert declared(known, program=A, commit=COMMIT) == known
    found = declared(known, program=B, commit=COMMIT)
    assert list(found.changes) == ["program"]
    assert found.changes["program"].actor == "maria@example.com"
    assert not found.is_back("program")
    assert declared(found, program=A, commit=COMMIT).is_back("program")


def test_a_part_that_is_pinned_no_more_is_a_change_until_it_is_reviewed() -> None:
    found = declared(a_composition(program=A))
    assert found.changes["program"].now == ()
    assert accepted(found).accepted == {}


def test_the_new_program_may_run_once_files_declare_it_and_is_one_change_with_that() -> None:
    found = declared(a_composition(program=A), program=B)
    assert seen(found, "program", B).change == found.change
    assert accepted(seen(found, "program", B)).accepted == {"program": (B,)}


def test_several_values_count_as_the_same() -> None:
    known = pinned("prn_1", TERMS, {"program": (A, B)}, by="alex@example.com", at=AT)
    assert seen(seen(known, "program", A), "program", B).change is None


def test_who_reviews_is_what_the_charter_said_before_the_change() -> None:
    known = a_composition(program=A)
    grabbed = Terms(OnChange.RESTRAIN, "payments-lead")
    found = declare(known, grabbed, {"program": (B,)}, by="files", actor="eve@example.com", at=AT)
    assert found.reviewer == "payments-risk"
    assert accepted(found).reviewer == "payments-lead"
    calm = declare(known, grabbed, {"program": (A,)}, by="files", actor="eve@example.com", at=AT)
    assert calm.reviewer == "payments-lead"


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["see", "declare", "accept"]), st.sampled_from(["program", "image"]), st.sampled_from([A, B])
    ),
    max_size=12,
)


@given(_STEPS)
def test_whatever_happens_nothing_counts_that_no_person_accepted(steps: list[tuple[str, str, str]]) -> None:
    known = a_composition(program=A, image=A)
    allowed = {"program": {A}, "image": {A}}
    for deed, part, value in steps:
        if deed == "see":
            known = seen(known, part, value)
        elif deed == "declare":
            known = declared(known, **{"program": A, "image": A} | {part: value})
        elif known.change:
            for each, values in known.now.items():
                allowed[each] |= set(values)
            known = accepted(known)
        for each, values in known.accepted.items():
            assert set(values) <= allowed[each]
        for each, found in known.seen.items():
            if found.value not in known.accepted[each]:
                assert each in known.changes  # what is there and nobody accepted always waits


# --- holds ---


def test_a_hold_takes_and_gives_back_its_own_and_no_more() -> None:
    held = Held(Standing.ACTIVE).with_floor("fnd_1", Standing.RESTRAINED)
    assert held.standing is Standing.RESTRAINED
    both = held.with_floor("fnd_2", Standing.SUSPENDED)
    assert both.standing is Standing.SUSPENDED
    assert both.without("fnd_2").standing is Standing.RESTRAINED
    assert both.without("fnd_1").standing is Standing.SUSPENDED
    assert held.without("fnd_1").standing is Standing.ACTIVE
    assert Held(Standing.SUSPENDED, held.floors).without("fnd_1").standing is Standing.SUSPENDED


def test_no_hold_becomes_milder_and_none_brings_back_what_is_final() -> None:
    held = Held(Standing.ACTIVE).with_floor("fnd_1", Standing.SUSPENDED).with_floor("fnd_1", Standing.RESTRAINED)
    assert held.standing is Standing.SUSPENDED
    assert Held(Standing.REVOKED, held.floors).standing is Standing.REVOKED


def test_holds_read_back_as_they_were_written() -> None:
    held = Held(Standing.RESTRAINED, {"fnd_1": Standing.SUSPENDED})
    assert read_held(write_held(held)) == held
    assert read_held(write_held(None)) is None
