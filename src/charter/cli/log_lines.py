"""What the server logs on standard error: each line with its time, and nothing in it that could steer a terminal."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from typing_extensions import override

from charter.evidence.neutral import one_line

LONGEST = 4_096  # characters of one line; what is longer is cut


class LineFormatter(logging.Formatter):
    """`2026-11-28T07:45:18Z warning charter.oauth: …`; each line of a traceback is indented."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of `record`."""
        at = datetime.fromtimestamp(record.created, UTC)
        first = f"{at:%Y-%m-%dT%H:%M:%SZ} {record.levelname.lower()} {record.name}: {record.getMessage()}"
        trace = self.formatException(record.exc_info).splitlines() if record.exc_info else []
        return "\n  ".join(one_line(line, LONGEST) for line in (first, *trace))


def log_to_standard_error() -> None:
    """Log from warnings on, as lines, from now to the end of this process."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
