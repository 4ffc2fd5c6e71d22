"""The service around the pipeline of `app/logic/pipeline.py`: a room for each part of a request's way.

    api/        what a client talks to: /predict, /status, /info, /ping, /ready          the API's processes
    openapi/    the service described for its callers: /openapi.json, /docs              the API's processes
    pages/      what browsers get of that: HTML, scripts, styles
    server/     how these processes are served and replaced, under gunicorn              the API's processes
    pipeline/   the user's four functions, however they are called                       API and prediction processes
    queue/      the durable queue in Redis: tasks, claims, heartbeats, callbacks due     all processes
    inline/     instead of a queue: the model in the API's process                       the API's processes
    worker/     the supervisor and the processes that hold the model                     the denzel container
    callbacks/  the sender of callbacks                                                  the denzel container
    monitor/    Flower with the queue's figures                                          the monitor
    training/   fitting the model anew, and judging it                                   a process of its own

At this level: `settings` (every setting, its default and limits), `callback_addresses` (where callbacks may go),
`listening` (where the API is reached), `api_keys`, `signing`, `edits` (of the user's code), `examples` (of requests)
and `requirements` (the user's files of them), which need the standard library alone, for the commands of the Makefile
use them too; `executor`, the interface between the API and what runs the model; `card` (the version of the model),
`record`, `jsonio`, `json_bounds` and `json_pieces` (large JSON), `memory` (the API's budget), `processes` and
`threads`, which several rooms share; `control`, the commands that run where the service runs; `testing`, the door for
pytest-denzel.

Who may import whom is in the docstring of each package, and kept by a test of the template. This level imports none of
the packages (but `control` and `testing`, which are ends), and no package imports in a circle.
"""
