"""Run one command: ``python3 commands NAME [VARIABLE=value ...]``, as the Makefile does."""

import errno
import importlib
import os
import sys

# command -> its module and function, in the groups of the Makefile; imported only when the command is called
COMMANDS = {
    "doctor": "doctor:run",
    # in containers
    "launch": "containers.launch:run",
    "start": "containers.lifecycle:start",
    "stop": "containers.lifecycle:stop",
    "restart": "containers.lifecycle:restart",
    "shutdown": "containers.lifecycle:shutdown",
    "shell": "containers.lifecycle:shell",
    "updatepipreqs": "containers.update:updatepipreqs",
    "updateosreqs": "containers.update:updateosreqs",
    "updatereqs": "containers.update:updatereqs",
    "scale": "containers.scale:run",
    # without Docker
    "install": "local.install:run",
    "dev": "local.dev:run",
    "test": "local.testing:test",
    "e2e": "local.testing:e2e",
    "lock": "local.lock:run",
    "audit": "local.audit:audit",
    "sbom": "local.audit:sbom",
    # with the running service
    "status": "service.status:run",
    "logs": "service.logs:logs",
    "logworker": "service.logs:logworker",
    "response": "service.control:response",
    "dead": "service.control:dead",
    "replay": "service.control:replay",
    "redeliver": "service.control:redeliver",
    "key": "service.key:run",
    "predict": "service.predict:run",
    "bench": "service.bench:run",
    "repair": "service.repair:run",
    "backup": "service.backup:backup",
    "restore": "service.backup:restore",
    # the model
    "ingest": "service.control:ingest",
    "train": "training.targets:train",
    "score": "training.targets:score",
    "lock-assets": "training.lock_assets:run",
    "receiver": "service.receiver:run",
}


def main(argv):
    """Run the command named first; its refusals go to stderr as they are and end with exit code 1."""
    if sys.version_info < (3, 10):  # an older one comes this far
        version = ".".join(map(str, sys.version_info[:2]))
        sys.stderr.write("Python 3.10 or newer is needed, not " + version + ": make ... PYTHON=python3.12\n")
        return 1
    command = argv[0] if argv else ""
    if command not in COMMANDS:
        sys.stderr.write("Unknown command " + repr(command) + ". Run `make` to see the commands.\n")
        return 1
    if sys.stdout is None:  # closed by the shell (>&-)
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - to the end
    from commands import shadowing

    for name in shadowing.shadowed_modules():
        sys.stderr.write(shadowing.problem(name) + "\n")
        return 1
    from commands.shared import new_env, ownership
    from commands.shared.project import CommandError

    module, _, function = COMMANDS[command].partition(":")
    try:
        new_env.create_if_missing()
        return getattr(importlib.import_module("commands." + module), function)(argv[1:])
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1
    except PermissionError as error:
        owners = "Run this as the owner of the project's folder."
        sys.stderr.write(
            "%s: %s. %s\n" % (error.strerror, error.filename, ownership.problem(str(error.filename or "")) or owners)
        )
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader went away (`make logs | head`): nothing is left to say, not even at interpreter shutdown
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a full disk, a folder where a file should be
        advice = (
            ". Make room on that disk: df -h shows the disks" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        )
        place = ": %s" % error.filename if error.filename else ""
        sys.stderr.write("%s%s%s\n" % (error.strerror or error, place, advice))
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what could not be written, cannot be now
        return 1


if __name__ == "__main__":
    # Until now Python has looked for its own modules here, and not among the project's files of the same names.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.exit(main(sys.argv[1:]))
