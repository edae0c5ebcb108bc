"""What the server logs for its operator."""

from __future__ import annotations

import logging
import re

from charter.cli.log_lines import LineFormatter


def test_a_line_has_its_time_and_nothing_that_steers_a_terminal() -> None:
    record = logging.LogRecord("charter.x", logging.ERROR, "", 0, "path %s", ("/a\n\x1b[2J\u202e",), None)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ error charter\.x: path /a\\u000a\\u001b\[2J\\u202e",
        LineFormatter().format(record),
    )


def test_the_lines_of_a_traceback_are_indented_under_their_own() -> None:
    try:
        int("a\n2026-01-01T00:00:00Z error charter: forged")
    except ValueError as err:
        record = logging.LogRecord("charter", logging.ERROR, "", 0, "failed", (), (type(err), err, err.__traceback__))
    first, *rest = LineFormatter().format(record).splitlines()
    assert first.endswith("failed")
    assert len(rest) >= 3
    assert all(line.startswith("  ") for line in rest)
