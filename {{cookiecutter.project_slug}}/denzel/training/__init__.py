"""Fitting the model anew and judging it: `make train` and `make score`, in a process of their own that ends with them.

It runs where the service's packages are, in a container or in `.venv`, and needs neither the API nor Redis. What to
fit, on which data, is the user's (`app/training.py`); here is what holds for every model: the asset and its card
(`asset`), and that a worse model does not replace a better one (`gate`).

Imports of the packages: pipeline.
"""
