"""What was read and bound is taken over by the next process, and by no other code than wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from charter.adapters import read_cache
from charter.adapters.read_cache import ReadFile
from charter.policy.check import BoundBefore
from charter.registry.manifest import parse_estate
from charter.registry.read_before import ReadBefore
from charter.registry.sourced import Sourced
from houses import estate_files

FILE = "principals/refund-agent.yaml"
DATA = estate_files()[FILE].encode()


def grown(monkeypatch: pytest.MonkeyPatch) -> tuple[ReadBefore, BoundBefore]:
    monkeypatch.setattr(read_cache, "WORTH_IT", 1)
    part = parse_estate(estate_files()).charters["refund-agent"]
    read, bound = ReadBefore(), BoundBefore()
    read.keep(FILE, DATA, part)
    bound.add("a charter among others")
    return read, bound


def filled(folder: Path) -> tuple[Sourced[Any] | None, bool]:
    read, bound = ReadBefore(), BoundBefore()
    ReadFile(read, bound).fill(folder)
    return read.find(FILE, DATA), bound.has("a charter among others")


def test_what_one_process_read_another_knows_with_its_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, bound = grown(monkeypatch)
    ReadFile(read, bound).keep(tmp_path)
    found, is_bound = filled(tmp_path)
    before = read.find(FILE, DATA)
    assert found is not None
    assert before is not None
    assert (found.value, dict(found.sources)) == (before.value, dict(before.sources))
    assert is_bound
    assert (tmp_path / "read.json").stat().st_mode & 0o777 == 0o600


def test_a_byte_more_in_the_file_is_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ReadFile(*grown(monkeypatch)).keep(tmp_path)
    read = ReadBefore()
    ReadFile(read, BoundBefore()).fill(tmp_path)
    assert read.find(FILE, DATA + b"\n") is None
    assert read.find("principals/other.yaml", DATA) is None


def test_little_that_is_new_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, bound = grown(monkeypatch)
    monkeypatch.setattr(read_cache, "WORTH_IT", 50)
    ReadFile(read, bound).keep(tmp_path)
    assert not (tmp_path / "read.json").exists()


@pytest.mark.parametrize(
    "spoilt",
    [
        b"",
        b"[]",
        b"{}",
        b'{"by": "another", "read": {"layouts": [], "charters": {}}, "bound": ["a charter among others"]}',
        b'{"by": BY, "read": 1, "bound": []}',
        b'{"by": BY, "read": {"layouts": [1], "charters": {}}, "bound": []}',
        b'{"by": BY, "read": {"layouts": [], "charters": {"zz": ["{}", 0]}}, "bound": []}',
        b'{"by": BY, "read": {"layouts": [], "charters": {"00": ["{}", 7]}}, "bound": []}',
    ],
)
def test_what_is_not_ours_is_nothing(tmp_path: Path, spoilt: bytes) -> None:
    (tmp_path / "read.json").write_bytes(spoilt.replace(b"BY", json.dumps(read_cache._code()).encode()))
    assert filled(tmp_path) == (None, False)


def test_what_others_could_have_written_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ReadFile(*grown(monkeypatch)).keep(tmp_path)
    (tmp_path / "read.json").chmod(0o620)
    assert filled(tmp_path) == (None, False)
