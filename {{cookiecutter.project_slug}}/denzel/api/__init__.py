"""The HTTP interface, in the API's processes: from a request's bytes to its answer.

    application   the Falcon application: its paths, and which executor it has
    entry         which requests are let in: by their head (heads), host (hosts), page (cors), key and its rate (rates)
    predict       POST /predict: reads, checks and verifies a request, submits it, answers
    reading       a request's body: read as far as there is room, parsed within bounds
    resources     GET and DELETE /status; /info, /ping, /ready
    routes        which pages there are: /, /docs, /openapi.json
    pages         what /docs and /openapi.json answer, from memory
    front         what / answers
    inbox         the receiver of callbacks that /docs has, for development
    answers       how answers and errors are written
    metrics       GET /metrics; how answers are counted
    task_id       ids that tell their age and origin

May import: the top level of `denzel`, `metrics`, `openapi`, `pipeline`, and `server.board` for what /ping tells.
Whatever runs the model is behind `denzel.executor`; only `application` knows which packages implement it.
"""
