"""A receiver of callbacks: answers 200 to every POST and counts them; GET tells the number. A process of its own."""

from __future__ import annotations

import asyncio
import sys

count = 0


class Connection(asyncio.Protocol):
    """One connection, kept open."""

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        global count
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            _, found, rest = head.partition(b"content-length:")
            total = end + 4 + (int(rest.split(b"\r\n")[0]) if found else 0)
            if len(self._buffer) < total:
                return
            self._buffer = self._buffer[total:]
            count += head.startswith(b"post")
            text = b"%d" % count
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
