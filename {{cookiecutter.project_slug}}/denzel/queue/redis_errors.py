"""Why Redis did not serve a request, in words for those who asked."""

from __future__ import annotations

from redis.exceptions import OutOfMemoryError, ResponseError

from denzel.queue.owner import OtherProjectError


def is_full(error: BaseException) -> bool:
    """Whether Redis has no room: then it has refused the whole command, or the script at its first write."""
    return isinstance(error, OutOfMemoryError) or "maxmemory" in str(error)


def reason_of(error: BaseException) -> str:
    """The reason, without a full stop."""
    if isinstance(error, OtherProjectError):
        return str(error)
    if is_full(error):
        return "Redis is full (REDIS_MAXMEMORY in .env); there will be room when results have expired"
    if "No space left on device" in str(error):
        return (
            "the disk of Redis' data is full: make room on it, and Redis goes on by itself; what was accepted is kept "
            "(df -h shows the disks, docker system df what Docker takes)"
        )
    if "read only replica" in str(error):
        return "Redis is a replica, which takes no changes; there will be a primary when its failover is over"
    if isinstance(error, ResponseError):
        text, _, _ = str(error).partition(" script: ")  # where in a script of ours it was means nothing to clients
        return f"Redis refused: {text.rstrip('.')}"
    return "Redis does not answer; look at `make status` and `make logs SERVICE=redis`"
