"""Run one command: ``python3 -m commands NAME [VARIABLE=value ...]``, as the Makefile does."""

import importlib
import os
import sys

# command -> module; the module is imported only when its command is called
COMMANDS = {
    "launch": "launch",
    "start": "lifecycle",
    "stop": "lifecycle",
    "restart": "lifecycle",
    "shutdown": "lifecycle",
    "status": "status",
    "logs": "logs",
    "logworker": "logs",
    "shell": "lifecycle",
    "response": "response",
    "updatepipreqs": "update",
    "updateosreqs": "update",
    "updatereqs": "update",
    "install": "install",
    "dev": "dev",
    "test": "testing",
    "e2e": "testing",
    "predict": "predict",
    "receiver": "receiver",
}
# commands whose function is not called "run", because their module serves several
FUNCTIONS = {
    name: name for name in ("start", "stop", "restart", "shutdown", "shell", "logs", "logworker", "test", "e2e")
}
FUNCTIONS.update({name: name for name in ("updatepipreqs", "updateosreqs", "updatereqs")})


def main(argv):
    """Run the command named first; its refusals go to stderr as they are and end with exit code 1."""
    if sys.version_info < (3, 10):
        print("Python 3.10 or newer is needed, this is %d.%d: make ... PYTHON=python3.12" % sys.version_info[:2],
              file=sys.stderr)
        return 1
    name = argv[0] if argv else ""
    if name not in COMMANDS:
        print("Unknown command %r. Run `make` to see the commands." % name, file=sys.stderr)
        return 1
    from commands.project import CommandError

    module = importlib.import_module("commands." + COMMANDS[name])
    try:
        return getattr(module, FUNCTIONS.get(name, "run"))(argv[1:])
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader went away (`make logs | head`): nothing is left to say, not even at interpreter shutdown
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
