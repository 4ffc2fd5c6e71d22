"""The user's four functions, however they are called: in the API's processes and in the prediction processes.

    loading      imports app/logic/pipeline.py; nobody else imports `app`
    stages       the functions one by one, with JSON between them
    declared     schemas of requests and answers that the project declares; requests are checked by them
    hints        schemas of type hints and models
    models       requests checked by models of pydantic and msgspec themselves
    batch        requests merged into one call, answers split again
    batch_size   how many requests to claim for a call
    in_api       verify_input in the API's process: imported, tried again, called
    thread       the thread that user code has there
    on_loop      short calls made on the event loop instead
    thread_bound what forbids that: things that belong to a thread
    signals      signal handlers that user code sets
    errors       what is told of an error of the user's code

May import: the top level of `denzel`.
"""
