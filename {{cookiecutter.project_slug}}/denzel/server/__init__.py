"""How the API's processes are served under gunicorn. All that rests on private names of uvicorn and gunicorn lies here.

    gunicorn_conf   gunicorn's configuration
    protocol        reads requests from a connection, writes responses: bounds on heads and trailers
    refusals        answers of the server itself
    pace            how fast a client sends and reads: when its connection is stuck, when it can be spared
    keeper          looks at all connections once a second, closes those, and makes room for others
    unread          counts answers that clients have not read as used memory
    server          one process: how it serves and how it leaves
    master          gunicorn's master: replaces all processes, stops them
    windows         how many requests each key has sent, counted by all processes together
    board           what master and processes tell each other

May import: the top level of `denzel`, and `metrics`.
"""
