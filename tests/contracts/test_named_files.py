"""Files that people name are read as far as they may be long, whatever they say of their size."""

from __future__ import annotations

from pathlib import Path

import pytest

from charter.adapters.whole_file import read_named
from charter.bootstrap.tools import known_choices
from charter.core.errors import MalformedError
from terminal import Terminal


def test_a_file_is_read_whole_up_to_its_bound(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345678")
    assert read_named(file, 8, "8 bytes") == b"12345678"
    with pytest.raises(MalformedError, match="larger than 7 bytes"):
        read_named(file, 7, "7 bytes")


def test_a_device_without_an_end_is_read_no_further() -> None:
    with pytest.raises(MalformedError, match="larger than 1 KiB"):
        read_named(Path("/dev/zero"), 1024, "1 KiB")


@pytest.mark.parametrize("name", ["absent", "."])
def test_what_cannot_be_read_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(MalformedError, match="cannot be read"):
        read_named(tmp_path / name, 1 << 20, "1 MiB")


def test_rules_to_try_are_read_so(tmp_path: Path) -> None:
    refused = Terminal.at(tmp_path).refused("responses", "preview", "--file", "/dev/zero", expect=2)
    assert refused["detail"] == "`/dev/zero` is larger than 256 KiB"


def test_definitions_that_were_kept_are_read_so(tmp_path: Path) -> None:
    (tmp_path / "pins").mkdir()
    with (tmp_path / "pins" / "notes.json").open("wb") as kept:
        kept.truncate(17 * 1024 * 1024)
    with pytest.raises(MalformedError, match="larger than 16 MiB"):
        known_choices(tmp_path)
