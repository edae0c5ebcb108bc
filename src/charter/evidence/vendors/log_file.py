"""Files of logs, split into their records: JSON lines, or one document with a list of them; either may be gzipped."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from charter.core.errors import ErrorCode, MalformedError

MAX_FILE = 1024 * 1024 * 1024  # bytes, unpacked
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Line:
    """One record of a file, as it stands there."""

    number: int  # from 1: of the line, or of the record in a document that holds many
    data: bytes


def split_lines(data: bytes) -> Iterator[Line]:
    """Yield the records of a log file: JSON lines, or one JSON document with a list of them; either may be gzipped.

    Raises:
        MalformedError: it is larger than a file may be, or packed and broken.
    """
    plain = _unpacked(data)
    records = _listed(plain)
    if records is not None:
        yield from (Line(number, bytes(each)) for number, each in enumerate(records, 1))
        return
    for number, line in enumerate(io.BytesIO(plain), 1):
        if line.strip():
            yield Line(number, line.strip())


def _unpacked(data: bytes) -> bytes:
    if not data.startswith(_GZIP):
        return _of_a_size(data)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            return _of_a_size(packed.read(MAX_FILE + 1))
    except (OSError, EOFError, zlib.error) as err:
        raise MalformedError(ErrorCode.BAD_VALUE, "the file is gzipped, and broken") from err


def _of_a_size(data: bytes) -> bytes:
    if len(data) > MAX_FILE:
        raise MalformedError(ErrorCode.TOO_LARGE, f"the file is larger than {MAX_FILE} bytes", help="split it")
    return data


class _Document(msgspec.Struct):
    Records: list[msgspec.Raw] | None = None  # CloudTrail
    records: list[msgspec.Raw] | None = None  # Azure's diagnostic settings
    items: list[msgspec.Raw] | None = None  # Google Workspace, Kubernetes' EventList
    value: list[msgspec.Raw] | None = None  # Entra
    data: list[msgspec.Raw] | None = None  # OpenAI, Anthropic


_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_document = msgspec.json.Decoder(_Document).decode


def _listed(plain: bytes) -> list[msgspec.Raw] | None:
    """Return the records of a file that is one document, or None if it is lines."""
    start = plain.lstrip()[:1]
    try:
        if start == b"[":
            return _list(plain)
        if start == b"{":
            found = _document(plain)
            lists = (found.Records, found.records, found.items, found.value, found.data)
            return next((each for each in lists if each is not None), None)
    except (msgspec.DecodeError, RecursionError):
        return None
    return None
