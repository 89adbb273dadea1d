"""HTTP/1.1 over one kept connection, in as little time as Python allows.

A load generator that shares two cores with the server under test must not become what is measured;
this takes about a fifth of the processor time of a general client.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

IDLE_SECONDS = 2.0


@dataclass
class Wire:
    """A connection of one person to a server on this machine."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None
    _used: float = 0.0

    async def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """One request; the status and the body of the answer.

        Raises:
            OSError: the connection broke before the whole answer was there.
        """
        if time.monotonic() - self._used > IDLE_SECONDS:
            self.close()  # as a server may be doing at this moment
        if self._reader is None or self._writer is None or self._reader.at_eof():
            self.close()
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if method != "GET":
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        self._used = time.monotonic()
        try:
            self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            return await self._answer()
        except (asyncio.IncompleteReadError, ValueError, IndexError) as error:
            self.close()
            raise ConnectionError(f"{method} {path}: the answer broke off") from error
        except BaseException:
            self.close()
            raise

    async def _answer(self) -> tuple[int, bytes]:
        assert self._reader is not None
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split()[1])
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        if fields.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self._reader.readline(), 16):
                body += (await self._reader.readexactly(size + 2))[:size]
            await self._reader.readline()
        elif "content-length" in fields:
            body = await self._reader.readexactly(int(fields["content-length"]))
        else:
            body = await self._reader.read() if status not in (204, 304) else b""
        if fields.get("connection") == "close" or head[0].startswith("HTTP/1.0"):
            self.close()
        return status, body

    def close(self) -> None:
        """Hang up; the next request connects anew."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
