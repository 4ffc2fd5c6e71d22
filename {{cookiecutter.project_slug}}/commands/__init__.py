"""The host side of the Makefile: each command is one module with a function ``run(arguments) -> int``.

Standard library only, Python 3.10 or newer: the commands run before anything is installed.
"""
