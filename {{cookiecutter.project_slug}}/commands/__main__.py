"""Run one command: ``python3 commands NAME [VARIABLE=value ...]``, as the Makefile does."""

import importlib
import os
import sys

# command -> module, or module.function where that is not "run"; imported only when its command is called
COMMANDS = {
    "launch": "launch",
    "start": "lifecycle.start",
    "stop": "lifecycle.stop",
    "restart": "lifecycle.restart",
    "shutdown": "lifecycle.shutdown",
    "status": "status",
    "logs": "logs.logs",
    "logworker": "logs.logworker",
    "shell": "lifecycle.shell",
    "response": "response",
    "dead": "control.dead",
    "replay": "control.replay",
    "redeliver": "control.redeliver",
    "updatepipreqs": "update.updatepipreqs",
    "updateosreqs": "update.updateosreqs",
    "updatereqs": "update.updatereqs",
    "install": "install",
    "dev": "dev",
    "test": "testing.test",
    "e2e": "testing.e2e",
    "scale": "scale",
    "doctor": "doctor",
    "predict": "predict",
    "bench": "bench",
    "receiver": "receiver",
}


def main(argv):
    """Run the command named first; its refusals go to stderr as they are and end with exit code 1."""
    if sys.version_info < (3, 10):  # an older one comes this far
        version = ".".join(map(str, sys.version_info[:2]))
        sys.stderr.write("Python 3.10 or newer is needed, not " + version + ": make ... PYTHON=python3.12\n")
        return 1
    name = argv[0] if argv else ""
    if name not in COMMANDS:
        sys.stderr.write("Unknown command " + repr(name) + ". Run `make` to see the commands.\n")
        return 1
    if sys.stdout is None:  # closed by the shell (>&-)
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - to the end
    from commands import hiding

    for hidden in hiding.hidden_modules():
        sys.stderr.write(hiding.problem(hidden) + "\n")
        return 1
    from commands import new_env
    from commands.project import CommandError

    module, _, function = COMMANDS[name].partition(".")
    try:
        new_env.create_if_missing()
        return getattr(importlib.import_module("commands." + module), function or "run")(argv[1:])
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1
    except PermissionError as error:
        sys.stderr.write("%s: %s. Run this as the owner of the project's folder.\n" % (error.strerror, error.filename))
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader went away (`make logs | head`): nothing is left to say, not even at interpreter shutdown
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a full disk, a folder where a file should be
        sys.stderr.write("%s%s\n" % (error.strerror or error, ": %s" % error.filename if error.filename else ""))
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what could not be written, cannot be now
        return 1


if __name__ == "__main__":
    # Until now Python has looked for its own modules here, and not among the project's files of the same names.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.exit(main(sys.argv[1:]))
