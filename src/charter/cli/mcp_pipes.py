"""The standard streams of `charter mcp`: MCP's stdio wire, one message a line (2026-07-28 basic/transports/stdio).

INVARIANT: a line that is too long is never kept: it is dropped as it comes, and told of once it ends.
INVARIANT: standard output holds messages and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from typing import BinaryIO

CHUNK = 64 * 1024


class Lines:
    """Turns chunks into the lines they end; a line of more than `most` bytes becomes None."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = bytearray()
        self._dropping = False

    def feed(self, chunk: bytes) -> list[bytes | None]:
        """Return the lines that `chunk` ends, without their ends; empty ones are left out."""
        *ended, rest = chunk.split(b"\n")
        lines: list[bytes | None] = []
        for piece in ended:
            self._keep(piece)
            if (line := self._take()) is None or line:
                lines.append(line)
        self._keep(rest)
        return lines

    def _keep(self, piece: bytes) -> None:
        if self._dropping or len(self._kept) + len(piece) > self._most:
            self._dropping = True
            self._kept.clear()
        else:
            self._kept += piece

    def _take(self) -> bytes | None:
        line = None if self._dropping else bytes(self._kept).strip(b"\r \t")
        self._kept.clear()
        self._dropping = False
        return line


async def lines_of(file: BinaryIO, most: int) -> AsyncIterator[bytes | None]:
    """Yield the lines of `file` until it ends; None in the place of one that is longer than `most` bytes."""
    lines = Lines(most)
    async for chunk in _chunks(file):
        for line in lines.feed(chunk):
            yield line


class Output:
    """Writes lines to a file, one at a time. A slow reader makes the writers wait; one that is gone does not."""

    def __init__(self, file: BinaryIO, writer: asyncio.StreamWriter | None) -> None:
        self._file = file
        self._writer = writer
        self._writing = asyncio.Lock()
        self.gone = False

    @classmethod
    async def to(cls, file: BinaryIO) -> Output:
        """Return what writes to `file`."""
        if not _waits(file):
            return cls(file, None)
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, file)
        return cls(file, asyncio.StreamWriter(transport, protocol, None, loop))

    async def line(self, text: bytes) -> None:
        """Write one line."""
        async with self._writing:
            if self.gone:
                return
            try:
                if self._writer is None:
                    self._file.write(text + b"\n")
                    self._file.flush()
                else:
                    self._writer.write(text + b"\n")
                    await self._writer.drain()
            except OSError:
                self.gone = True


def _waits(file: BinaryIO) -> bool:
    """Whether `file` can make its reader or writer wait: a pipe, a socket, a terminal; a file on disk cannot."""
    mode = os.fstat(file.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(file.fileno())


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    if not _waits(file):
        while chunk := file.read(CHUNK):
            yield chunk
        return
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    while chunk := await reader.read(CHUNK):
        yield chunk
