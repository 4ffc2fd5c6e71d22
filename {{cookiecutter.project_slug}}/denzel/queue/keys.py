"""The names of everything in Redis, and the numbers that the scripts go by: the one list, of which Lua knows too.

The names are a contract with the data: queued tasks outlive an update of the framework.
"""

from __future__ import annotations

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

# ---- Tasks ----

TASK = "denzel:task:"  # + id: the hash that is the task's record
REQUEST = "denzel:request:"  # + id: the request of a task, where it is large; the record says `beside`
BESIDE = "denzel:beside"  # sorted set of the ids of these, by the time of the next look whether they are needed
READ_BESIDE = "denzel:read_beside"  # there while all workers know of such requests
WAITING = "denzel:waiting"  # list of ids, claimed from the right
DELAYED = "denzel:delayed"  # sorted set of ids by the time (unix seconds) at which they wait again
DEAD = "denzel:dead"  # sorted set of ids that were given up, by the time of that
IDEMPOTENCY = "denzel:idempotency:"  # + SHA-256 of a client's key: the task's id and the request's digest
FULL = "denzel:full"  # there while Redis is almost full: no tasks are accepted
RETURNING = (
    "denzel:returning"  # sorted set of the ids of refused tasks by the time at which their clients are to come again
)
RETURNING_LIST = "denzel:returning:"  # + a request's digest: list of those of these ids that had this request
RETURNED = "denzel:returned"  # hash: of those who were told to come again how many came, and how many stayed away
REPLIES = "denzel:replies:"  # + WITH_TIMES and a random name: the channel of one API process
WITH_TIMES = "times:"  # in that name: it understands replies that tell the times of a call
CANCELLED = "denzel:cancelled"  # channel: `token id` of a cancelled task that runs
INGEST = "denzel:ingest"  # the id of the ingesting that waits, runs or was the last one
INGEST_LEASE = "denzel:ingest:lease"  # the process that is at it

# ---- Processes ----

CLAIMS = "denzel:claims:"  # + token: the set of ids that a process has claimed
CLAIMANTS = "denzel:claimants"  # the set of tokens that have claims
ALIVE = "denzel:alive:"  # + token, or channel of replies: there while somebody vouches for the process
# List of idle processes, each as `token node most at_once ratio quick`; 3: what they are handed tells origins.
IDLE = "denzel:idle:3"
HAND = "denzel:hand:"  # + token: list by which an idle process is handed tasks
QUICK = "denzel:quick"  # token of a process that will be back at once
PROCESSES = "denzel:processes"  # the number of processes that serve
SPEED = "denzel:speed"  # tasks per second of all processes that serve, while they work; mean seconds of a call
NODES = "denzel:nodes"  # hash: a node's name, and the second and text of its last heartbeat
NODE = "denzel:node:"  # + a node's name: who holds that name
LAST_BEAT = "denzel:last_beat"  # the second of the last heartbeat of any node
AMNESTY = "denzel:amnesty"  # there while nobody is declared dead

# ---- Callbacks, settings, messages ----

CALLBACKS = "denzel:callbacks"  # sorted set of ids by the time at which their callback is due
CALLBACKS_WAKE = "denzel:callbacks:wake"  # channel: a callback is due now
CALLBACK_RETRIES = f"{CALLBACKS}:retries:"  # + a day's number: hash of receivers and how often theirs were tried again
RESPONSE = "synchronous_timeout"  # Denzel's own key: seconds to wait, 0 = asynchronous
QUEUE = "denzel"  # the Celery queue, where the tickets lie
TAKES_CHANGES = "denzel:takes_changes"  # written, for a millisecond, to see whether that can be done

# ---- What is counted ----

TOTALS = "denzel:metrics:totals"  # hash: what all containers have counted, by the names of metrics/layout.py
MESSAGES = "denzel:metrics:messages"  # hash: who counts, and `number second` of the last message that was added
CONTAINERS = "denzel:metrics:containers"  # hash: who counts, and `second JSON` of what its container told last
NOTES = "denzel:metrics:notes"  # list of the totals of the last minutes, each `second number number ...`
NOTED = "denzel:metrics:noted"  # there while the last note is recent

# ---- Numbers ----

# A heartbeat older than this means that the worker is gone or stuck (seconds; one is written every second).
STALE = 5
# The record of a task that nobody waits for any longer is kept for this long (seconds).
SHORT = 60
# A request of so many bytes lies beside its record: with less, reading it by name would cost more than it saves.
LARGE = 64_000
# One whose record has not been written within this time (seconds) is forgotten.
UNRECORDED = 30
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
