"""Salts of payloads: drawn many at once, and each for one entry alone."""

from __future__ import annotations

from pathlib import Path

from charter.adapters.payloads import AT_ONCE
from charter.evidence.payload import SALT_BYTES
from houses import a_house


def test_no_salt_is_given_out_twice_and_each_is_whole(tmp_path: Path) -> None:
    with a_house(tmp_path) as stage:
        payloads = stage.house.database.payloads
        assert payloads is not None
        salts = [payloads.salt(SALT_BYTES) for _ in range(3 * AT_ONCE + 1)]
        assert {len(each) for each in salts} == {SALT_BYTES}
        assert len(set(salts)) == len(salts)
