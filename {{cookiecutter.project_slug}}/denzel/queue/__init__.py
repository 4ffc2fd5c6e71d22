"""EXECUTOR=queue: the durable queue in Redis, seen by all processes.

    keys                             names of Redis keys, and the limits that scripts go by: leases, deaths of a task
    scripts, lua/                    each step of a task's life, whole or not at all
    executor, submitter, store,
    api_connection                   the API's side: submit, wait for the reply, look up, cancel
    claims, worker_connection        a prediction process's side: claim tasks, store how they ended
    large                            large requests, which lie beside their records
    readiness                        whether anybody can answer
    redis_errors, redis_state        why Redis did not serve a request, does not start, or takes no changes
    nodes                            the supervisor's side: heartbeats, processes that died
    callbacks                        the callback sender's side
    totals                           what all containers count, added up
    given_up                         tasks that were given up: list them, run them again
    broker, ticket                   Celery, and its message that wakes a worker
    pubsub                           listening that notices a dead connection

May import: the top level of `denzel`, `direct` and `metrics`.
"""
