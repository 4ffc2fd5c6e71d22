"""The host side of the Makefile: ``__main__`` says which function of which module runs a command.

The folders are the Makefile's groups, `shared/` holds what several commands use, and imports none of them. A command
is a function ``(arguments: list[str]) -> int``: the words after its name, and the exit code.

Standard library only, Python 3.10 or newer: the commands run before anything is installed. Of the framework they import
`settings`, `callback_addresses`, `signing`, `assets`, `edits` and `requirements` of `denzel/`, which keep that too.
"""
