"""Answers that clients have not read are counted as used memory, for as long as they wait in this process."""

from __future__ import annotations

from typing import Any

from denzel.memory import MEMORY


class CountsUnread:
    """Of a connection: what its client does not take is counted when the transport holds more than its high mark."""

    transport: Any
    _counted_unread = 0

    def pause_writing(self) -> None:
        """More is to be sent than the system takes at once."""
        super().pause_writing()  # type: ignore[misc]
        self._count(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """The client has taken most of it."""
        super().resume_writing()  # type: ignore[misc]
        self._count(0)

    def connection_lost(self, exc: Exception | None) -> None:
        """What was not sent never will be."""
        self._count(0)
        super().connection_lost(exc)  # type: ignore[misc]

    def _count(self, unread: int) -> None:
        if unread != self._counted_unread:
            MEMORY.add(unread - self._counted_unread)
            self._counted_unread = unread
