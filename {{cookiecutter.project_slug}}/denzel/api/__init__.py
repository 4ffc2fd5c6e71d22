"""The HTTP interface, in the API's processes: from a request's bytes to its answer.

May import: the top level of `denzel`, `pipeline`, and `server.board` for what /ping tells. Whatever runs the model is
behind `denzel.executor`; only `application` knows which packages implement it.
"""
