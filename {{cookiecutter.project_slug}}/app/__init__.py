"""The service around `app/logic/pipeline.py`: an API, a durable queue and the processes that hold the model.

This file stays empty of code, so that importing `app.logic.pipeline` imports nothing of the framework.
"""
