"""Your code: the pipeline, and any helper modules that it imports."""
