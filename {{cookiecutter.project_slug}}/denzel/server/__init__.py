"""How the API's processes are served under gunicorn: the protocol, a process's life, the master, its configuration.

All that rests on private names of uvicorn and gunicorn lies here. May import: the top level of `denzel`.
"""
