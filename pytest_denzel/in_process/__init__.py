"""In the process of the tests: the pipeline, the API on the inline executor, and code that calls the outside world."""
