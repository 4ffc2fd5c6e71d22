"""The names of everything in Redis, and the numbers that the scripts go by: the one list, of which Lua knows too.

The names are a contract with the data: queued tasks outlive an update of the framework. Each begins with the project's
(PREFIX), so that several projects may share a database; docstrings leave that out. Those from before are taken over
(`owner`).
"""

from __future__ import annotations

from urllib.parse import quote

from denzel.admission import (  # noqa: F401 - Lua knows them by these names, too
    DIGEST_OF,
    EARLY,
    FULL_PART,
    LATE,
    LONGEST_FOR_SAME,
    MOST_RETURNING,
    PLACES,
    PRIOR,
    RATES_FADE,
    RESERVED_PART,
    RETURNING_SHARE,
)
from denzel.settings import project

# ---- The project ----

_name, IDENTITY = (quote(text, safe="") for text in project())  # no colon, slash or quotation mark is left in them
PREFIX = f"denzel/{_name}:"
EARLIER = "denzel:"  # what all names began with before they told the project
PROJECT = f"{PREFIX}project"  # hash: the identity of the project that this name belongs to, and who was the first

# ---- Tasks ----

TASK = f"{PREFIX}task:"  # + id: the hash that is the task's record
REQUEST = f"{PREFIX}request:"  # + id: the request of a task, where it is large; the record says `beside`
BESIDE = f"{PREFIX}beside"  # sorted set of the ids of these, by the time of the next look whether they are needed
READ_BESIDE = f"{PREFIX}read_beside"  # there while all workers know of such requests
WAITING = f"{PREFIX}waiting"  # list of ids, claimed from the right
WAITING_BYTES = f"{PREFIX}waiting:bytes"  # the sum of the fields `waits` of all records
DELAYED = f"{PREFIX}delayed"  # sorted set of ids by the time (unix seconds) at which they wait again
DEAD = f"{PREFIX}dead"  # sorted set of ids that were given up, by the time of that
IDEMPOTENCY = f"{PREFIX}idempotency:"  # + SHA-256 of a client's key: the task's id and the request's digest
FULL = f"{PREFIX}full"  # there while Redis is almost full: no tasks are accepted
# sorted set of the ids of refused tasks by the time at which their clients are to come again
RETURNING = f"{PREFIX}returning"
RETURNING_LIST = f"{PREFIX}returning:"  # + a request's digest: list of those of these ids that had this request
RETURNED = f"{PREFIX}returned"  # hash: of those who were told to come again how many came, and how many stayed away
REPLIES = f"{PREFIX}replies:"  # + WITH_TIMES and a random name: the channel of one API process
WITH_TIMES = "times:"  # in that name: it understands replies that tell the times of a call
CANCELLED = f"{PREFIX}cancelled"  # channel: `token id` of a cancelled task that runs
INGEST = f"{PREFIX}ingest"  # the id of the ingesting that waits, runs or was the last one
INGEST_LEASE = f"{PREFIX}ingest:lease"  # the process that is at it

# ---- Processes ----

CLAIMS = f"{PREFIX}claims:"  # + token: the set of ids that a process has claimed
CLAIMANTS = f"{PREFIX}claimants"  # the set of tokens that have claims
ALIVE = f"{PREFIX}alive:"  # + token, or channel of replies: there while somebody vouches for the process
# List of idle processes, each as `token node most at_once ratio quick`; 3: what they are handed tells origins.
IDLE = f"{PREFIX}idle:3"
HAND = f"{PREFIX}hand:"  # + token: list by which an idle process is handed tasks
QUICK = f"{PREFIX}quick"  # token of a process that will be back at once
PROCESSES = f"{PREFIX}processes"  # the number of processes that serve
SPEED = f"{PREFIX}speed"  # tasks per second of all processes that serve, while they work; mean seconds of a call
NODES = f"{PREFIX}nodes"  # hash: a node's name, and the second and text of its last heartbeat
NODE = f"{PREFIX}node:"  # + a node's name: who holds that name
LAST_BEAT = f"{PREFIX}last_beat"  # the second of the last heartbeat of any node
AMNESTY = f"{PREFIX}amnesty"  # there while nobody is declared dead

# ---- Callbacks, settings, messages ----

CALLBACKS = f"{PREFIX}callbacks"  # sorted set of ids by the time at which their callback is due
CALLBACKS_WAKE = f"{PREFIX}callbacks:wake"  # channel: a callback is due now
CALLBACK_RETRIES = f"{CALLBACKS}:retries:"  # + a day's number: hash of receivers and how often theirs were tried again
RESPONSE = f"{PREFIX}synchronous_timeout"  # the live setting: seconds to wait, 0 = asynchronous
# The Celery queue, as the broker knows it; one broker may serve several projects, of one name too.
QUEUE = ".".join(filter(None, ("denzel", _name, IDENTITY)))
TICKETS = PREFIX + QUEUE  # the list of that queue, where Redis is the broker
TAKES_CHANGES = "takes_changes"  # (behind PREFIX, by kombu) written, for a millisecond, to see whether that can be done

# ---- What is counted ----

TOTALS = f"{PREFIX}metrics:totals"  # hash: what all containers have counted, by the names of metrics/layout.py
MESSAGES = f"{PREFIX}metrics:messages"  # hash: who counts, and `number second` of the last message that was added
CONTAINERS = f"{PREFIX}metrics:containers"  # hash: who counts, and `second JSON` of what its container told last
NOTES = f"{PREFIX}metrics:notes"  # list of the totals of the last minutes, each `second number number ...`
NOTED = f"{PREFIX}metrics:noted"  # there while the last note is recent

# ---- Numbers ----

# A heartbeat older than this means that the worker is gone or stuck (seconds; one is written every second).
STALE = 5
# The record of a task that nobody waits for any longer is kept for this long (seconds).
SHORT = 60
# A request of so many bytes lies beside its record: with less, reading it by name would cost more than it saves.
LARGE = 64_000
# One whose record has not been written within this time (seconds) is forgotten.
UNRECORDED = 30
# The idempotency key of a task that was not accepted within this time (seconds) is forgotten.
UNACCEPTED = 60
# Seconds between two looks whether a large request is needed still.
LOOK_AGAIN = 30
# A process is believed dead when nobody has vouched for it for this long (seconds).
LEASE = 5
# Calls that take less (seconds) are waited for rather than that another process is woken.
SHORT_CALL = 0.002
# After a process began a short call it is believed to be back at once for this long (milliseconds).
QUICK_FOR = 5
# A task that took this many processes with it, each time alone, ends as FAILURE.
MAX_DEATHS = 3
# The same where nobody was left to say how the process ended: the whole container was gone, perhaps for another reason.
MAX_LOSSES = 10
# What a container told of itself holds for this long (seconds); that its messages came is known for a day.
TOLD = 5
KNOWN = 86_400

# What the scripts know by these names.
LUA = {
    name: value for name, value in list(globals().items()) if name.isupper() and isinstance(value, str | int | float)
}
