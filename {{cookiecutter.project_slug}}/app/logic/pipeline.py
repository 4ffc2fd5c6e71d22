"""The four functions between a request and its answer. Fill them; everything else is done for you.

    request -> verify_input -> process -> predict -> answer

The working directory is the project's folder: open files as "./app/assets/...". Helpers of your own belong in
other modules of app/logic: "from app.logic.cleaning import clean". `make restart` applies an edit.
"""


def verify_input(json_data):
    """Check a request, in the api container.

    Raise any exception to refuse it: the client gets 400 and the exception's message.

    :param json_data: the request's body, parsed from JSON
    :return: what `process` gets, as a rule json_data itself; it must be JSON again
    """
    raise NotImplementedError("verify_input is not filled in yet: see app/logic/pipeline.py")


def load_model():
    """Load the model into memory; called once in each worker process, before its first request.

    :return: the model, given to `process` and `predict`
    """
    return None  # for example: joblib.load("./app/assets/model.joblib")


def process(model, json_data):
    """Turn a verified request into what the model takes.

    :param model: what `load_model` returned
    :param json_data: what `verify_input` returned
    :return: what `predict` gets; anything
    """
    raise NotImplementedError("process is not filled in yet: see app/logic/pipeline.py")


def predict(model, data):
    """Make the predictions.

    :param model: what `load_model` returned
    :param data: what `process` returned
    :return: the answer: a dictionary that JSON can hold (NumPy numbers and arrays are converted)
    """
    raise NotImplementedError("predict is not filled in yet: see app/logic/pipeline.py")
