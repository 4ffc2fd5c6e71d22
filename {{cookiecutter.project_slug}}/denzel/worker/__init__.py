"""The denzel container: the supervisor and, started by it, the prediction processes that hold the model.

(The container has the name of the whole framework, for it is what the service is about.) May import: the top level of
`denzel`, `pipeline` and `queue`.
"""
