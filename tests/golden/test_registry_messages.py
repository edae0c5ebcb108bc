"""What people read when a file of their estate is wrong: every message word for word, with its place.

The cases stand in registry_messages.txt: a file of the small estate, a piece of its text (JSON), what it is replaced
by, and the messages that must come of it, each at its line and column of that file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from charter.registry.manifest import parse_estate
from charter.registry.problem import EstateError
from estates import FILES, estate_files


@dataclass(frozen=True)
class Wrong:
    path: str
    old: str
    new: str
    messages: list[str]


def read_cases() -> list[Wrong]:
    blocks = (Path(__file__).parent / "registry_messages.txt").read_text(encoding="utf-8").strip().split("\n\n")
    return [
        Wrong(
            path, json.loads(old[1:]), json.loads(new[1:]), [f"{path}:{each.removeprefix('= ')}" for each in messages]
        )
        for path, old, new, *messages in (block.split("\n") for block in blocks)
    ]


CASES = read_cases()


@pytest.mark.parametrize("wrong", CASES, ids=[f"{case.path}: {case.new[:40]}" for case in CASES])
def test_a_wrong_file_says_what_is_wrong_and_where(wrong: Wrong) -> None:
    text = FILES[wrong.path]
    assert wrong.old in text
    with pytest.raises(EstateError) as caught:
        parse_estate(estate_files({wrong.path: text.replace(wrong.old, wrong.new, 1)}))
    assert [str(problem) for problem in caught.value.problems] == wrong.messages
