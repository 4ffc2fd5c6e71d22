"""The sender of callbacks, a process of its own in the denzel container: `python -m denzel.callbacks`.

A slow receiver never holds a model. May import: the top level of `denzel` and `queue`; `sender` and `delivery` know
nothing of Redis, so that the inline executor can use them.
"""
