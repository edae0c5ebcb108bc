"""Several people with files at once: one plan is carried out, the other is told, and nothing is half done."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from charter.bootstrap import estate
from charter.core.errors import CharterError, ConflictError, ErrorCode
from charter.registry.problem import EstateError
from houses import Stage, a_house, estate_files

TEXT = "principals/refund-agent.yaml"


def another(purpose: str) -> dict[str, str]:
    return estate_files(purpose=purpose)


def at_once(stage: Stage, *wanted: dict[str, str]) -> list[dict[str, object] | BaseException]:
    """Plan all of it, then apply all of it at the same time; return what each is answered."""
    plans = [estate.plan(stage.house, files)["digest"] for files in wanted]

    async def run() -> list[dict[str, object] | BaseException]:
        applying = [
            estate.apply(stage.house, files, plan_digest=plan, actor=f"{index}@example.com", reason="at once")
            for index, (files, plan) in enumerate(zip(wanted, plans, strict=True))
        ]
        return list(await asyncio.gather(*applying, return_exceptions=True))

    return asyncio.run(run())


def test_of_two_applies_at_once_one_is_done_whole_and_the_other_is_told(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        answers = at_once(stage, another("Refund small charges"), another("Refund large charges"))
        refused = [each for each in answers if isinstance(each, ConflictError)]
        done = [each for each in answers if isinstance(each, dict)]
        assert (len(done), len(refused)) == (1, 1)
        assert refused[0].code is ErrorCode.STALE
        assert refused[0].detail == "what is registered changed since this was planned"
        principal = stage.house.principal("refund-agent")
        assert principal.version == 2
        applied = [each for each in stage.entries("charter.applied") if each["body"]["reason"] == "at once"]
        assert [each["body"]["digest"] for each in applied] == [principal.digest]


def test_the_same_plan_applied_twice_at_once_is_applied_once(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        answers = at_once(stage, another("Refund small charges"), another("Refund small charges"))
        assert sum(isinstance(each, dict) for each in answers) == 1
        assert stage.house.principal("refund-agent").version == 2


def test_files_that_are_edited_between_plan_and_apply_are_another_plan(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        looked_at = estate.plan(stage.house, another("Refund small charges"))["digest"]
        with pytest.raises(ConflictError):
            asyncio.run(
                estate.apply(
                    stage.house,
                    another("Refund everything"),
                    plan_digest=looked_at,
                    actor="a@example.com",
                    reason="edited meanwhile",
                )
            )
        assert stage.house.principal("refund-agent").version == 1
        assert all(each["body"]["reason"] == "a test" for each in stage.entries("charter.applied"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("charter: v1\nprincipal: [", "a value is missing here"),
        ("charter: v1\n", "is missing"),
    ],
)
def test_a_file_that_is_half_written_changes_nothing(tmp_path: Path, text: str, told: str) -> None:
    with a_house(tmp_path) as stage:
        before = stage.house.database.read(lambda tx: tx.registry.state_digest())
        with pytest.raises(CharterError) as caught:
            stage.apply(estate_files() | {TEXT: text})
        assert isinstance(caught.value, EstateError)
        assert caught.value.problems[0].path == TEXT
        assert told in str(caught.value.problems[0])
        assert stage.house.database.read(lambda tx: tx.registry.state_digest()) == before
