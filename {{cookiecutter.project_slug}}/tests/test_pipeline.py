"""The pipeline, function by function, in this process: `make test`.

The fixtures come from pytest-denzel. `verify_input(request)`, `process(request)` and `predict(data)` call your
functions, the last two with the model that `load_model` returned; `pipeline.run(request)` goes the whole way.
A request whose answer you know needs no test here: put both into a file in app/assets/examples.
"""

import pytest


def test_what_is_no_object_is_refused(verify_input):
    with pytest.raises(Exception, match=r"\w"):  # the message is what the client gets
        verify_input("not an object")
