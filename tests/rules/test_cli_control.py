"""What commands write into the paths they ask for: names as one segment each, and no query."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from charter.cli.control import Control
from charter.cli.main import app
from charter.config import Settings
from charter.core.errors import MalformedError


def test_a_query_in_the_path_is_refused_and_not_lost(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="belongs into keywords"):
        Control(Settings(estate=tmp_path)).get("/v1/sessions?since=7d")


@pytest.mark.parametrize(
    "words",
    [
        ["leases", "show", "../principals"],
        ["leases", "renew", "a/b"],
        ["leases", "revoke", "..", "--reason", "x"],
        ["vault", "rm", "../../principals/x/kill", "--reason", "x"],
        ["vault", "bind", "a/b", "--for", "payments"],
        ["vault", "disconnect", "a/b", "--reason", "x"],
    ],
)
def test_a_name_that_leads_to_another_path_is_refused_before_anything_is_asked(
    tmp_path: Path, words: list[str]
) -> None:
    told = CliRunner().invoke(app, ["-C", str(tmp_path), *words])
    assert isinstance(told.exception, MalformedError), told.output
    assert "is no name" in told.exception.detail
