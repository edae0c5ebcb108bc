"""Questions of enforcement points, decided again: objects that they name, and obligations, are of the record too."""

from __future__ import annotations

from pathlib import Path

from access_stage import access_files, an_access, question, subject
from charter.bootstrap import what_if, why


def test_what_points_asked_is_decided_again_without_a_difference(tmp_path: Path) -> None:
    with an_access(tmp_path) as access:
        for who in ("alice", "bob"):
            for action in ("read", "write"):
                for record in ("record-1", "record-2"):
                    access.decide(question(who, action, record))
        access.decide(question("alice", "read", "record-1") | {"subject": subject("alicia")})
        found = list(what_if.compare(access.house, access_files(), {"since": "1d"}))[-1]
        told = [why.recorded(access.house, str(each["index"])) for each in access.stage.entries("verdict")]

    assert found["changes"] == []
    assert found["replayed"] == found["same"] == 8
    assert {each["agrees"] for each in told} <= {True, None}
    assert sum(each["agrees"] is True for each in told) == 8
