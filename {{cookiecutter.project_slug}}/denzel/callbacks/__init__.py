"""The sender of callbacks, a process of its own in the denzel container: `python -m denzel.callbacks`.

    courier      takes what is due, has it sent, records what came of it
    delivery     how a delivery stands: when the next attempt is due, how long it is tried
    dispatcher   which callback is sent next, fairly among the receivers
    sender       one signed POST
    bounds       what one receiver gets at the most: connections, retries a day

A slow receiver never holds a model. Where callbacks may go is in `denzel.callback_addresses`. May import: the top level
of `denzel`, `metrics` and `queue`; `sender`, `bounds` and `delivery` know nothing of Redis, so that the inline executor
can use them.
"""
