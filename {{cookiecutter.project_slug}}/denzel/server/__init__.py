"""How the API's processes are served under gunicorn. All that rests on private names of uvicorn and gunicorn lies here.

    gunicorn_conf   gunicorn's configuration
    protocol        reads requests from a connection, writes responses: bounds on heads and trailers
    server          one process: how it serves and how it leaves
    master          gunicorn's master: replaces all processes, stops them
    windows         how many requests each key has sent, counted by all processes together
    board           what master and processes tell each other

May import: the top level of `denzel`, and `metrics`.
"""
