"""The service around the pipeline: the API, the durable queue and the processes that hold the model."""
