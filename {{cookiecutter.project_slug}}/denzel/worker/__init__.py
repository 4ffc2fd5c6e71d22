"""The denzel container: the supervisor and, started by it, the prediction processes that hold the model.

    supervisor, child    start, watch, replace and stop the processes; heartbeats
    node_name, log       the node's name, and its log
    process              a prediction process from its start: loads the model
    consumer             its Celery consumer, which waits for tickets
    loop                 its work: claim, predict, store; how long it waits for more before the consumer has its turn
    time_limit           the soft time limit
    cancelling           ends what runs of cancelled tasks: by an exception (soft_cancel), then a kill
    process_state        what supervisor and process tell each other in shared memory
    monitoring           what Flower is told
    figures              what the processes count
    ingesting            a process that brings the user's data; ingest_starter starts it when that is queued

(The container has the name of the whole framework, for it is what the service is about.) May import: the top level of
`denzel`, `direct`, `metrics`, `pipeline` and `queue`.
"""
