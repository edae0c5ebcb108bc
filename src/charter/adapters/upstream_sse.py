"""Server-sent events, read piece by piece within bounds (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from charter.core.errors import ErrorCode
from charter.gateway.pins import UpstreamError


class SseReader:
    """Turns the chunks of an event stream into the data of its events. Only `message` events carry any."""

    def __init__(self, max_event_bytes: int) -> None:
        self._most = max_event_bytes
        self._line: list[bytes] = []  # pieces of a line that has not ended
        self._data: list[bytes] = []
        self._kind = b""
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of each event that `chunk` completes; a bare priming event gives nothing.

        Raises:
            UpstreamError: an event exceeds the bound.
        """
        self._size += len(chunk)
        if b"\n" not in chunk and b"\r" not in chunk:
            self._line.append(chunk)
            self._check()
            return []
        *lines, rest = self._split(b"".join((*self._line, chunk)))
        self._line = [rest]
        events = [event for line in lines if (event := self._take(line)) is not None]
        self._size = len(rest) + sum(map(len, self._data))
        self._check()
        return events

    def _split(self, text: bytes) -> list[bytes]:
        """Return the lines of `text`, the last of which has not ended; a final carriage return may be half an end."""
        held = b"\r" if text.endswith(b"\r") else b""
        lines = text[: len(text) - len(held)].splitlines(keepends=True)
        rest = lines.pop() if lines and not lines[-1].endswith((b"\n", b"\r")) else b""
        return [*(line.rstrip(b"\r\n") for line in lines), rest + held]

    def _take(self, line: bytes) -> bytes | None:
        """Note one line; return an event's data if it ends one."""
        if not line:
            data, kind = b"\n".join(self._data), self._kind
            self._data, self._kind = [], b""
            return data if data and kind in (b"", b"message") else None
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._kind = value
        return None

    def _check(self) -> None:
        if self._size > self._most:
            raise UpstreamError(
                ErrorCode.UPSTREAM_FAILED, f"the upstream sent an event of more than {self._most} bytes", sent=True
            )
