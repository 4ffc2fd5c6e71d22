"""EXECUTOR=queue: the durable queue in Redis, seen by all processes. `lua/` holds the steps of a task's life.

The API's side is `executor` with `submitter`, `api_connection` and `store`; the worker's is `claims` and
`worker_connection`; the supervisor's is `nodes`; the callback sender's is `callbacks`. May import: the top level of
`denzel`.
"""
