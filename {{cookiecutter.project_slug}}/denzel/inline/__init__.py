"""EXECUTOR=inline: the model in the API's process, tasks in its memory. Knows nothing of Redis and Celery.

    executor   runs the pipeline, sends callbacks
    records    the tasks' records, bounded
    figures    what /metrics tells

May import: the top level of `denzel`, `metrics`, `pipeline`, and `callbacks.sender`.
"""
