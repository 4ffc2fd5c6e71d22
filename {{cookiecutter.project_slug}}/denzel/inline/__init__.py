"""EXECUTOR=inline: the model in the API's process, tasks in its memory. Knows nothing of Redis and Celery.

May import: the top level of `denzel`, `pipeline`, and `callbacks.sender`.
"""
