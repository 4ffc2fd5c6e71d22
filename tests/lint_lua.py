"""Check the Lua scripts, each as Redis gets it: with the constants and the shared functions before it.

By luacheck or, where there is none, by `luac -p`; nothing is checked where there is neither.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

TEMPLATE = Path(__file__).parent.parent / "{{cookiecutter.project_slug}}"
LUACHECK = (
    *("luacheck", "-", "--formatter", "plain", "--no-color", "--std", "lua51", "--read-globals", "redis", "cjson"),
    *("KEYS", "ARGV", "--no-unused", "--max-line-length", "120"),
)


def main() -> int:
    sys.path.append(str(TEMPLATE))
    from denzel.queue import scripts

    folder = TEMPLATE / "denzel/queue/lua"
    luac = next(filter(shutil.which, ("luac", "luac5.1")), None)
    command = LUACHECK if shutil.which("luacheck") else (luac, "-p", "-") if luac else None
    if command is None:
        print("There is neither luacheck nor luac: the Lua scripts are not checked")
        return 0
    failed = 0
    before = scripts.Script("").source.count("\n")
    for path in sorted(folder.glob("*.lua")):
        is_shared = path.stem in scripts.SHARED
        source = scripts.Script("").source if is_shared else scripts.script(path.stem).source
        done = subprocess.run(command, input=source, capture_output=True, text=True)
        if done.returncode:
            failed += 1
            print(path.relative_to(TEMPLATE))
            for number, what in re.findall(r":(\d+): ?(.*)", done.stdout + done.stderr):
                print(f"  line {int(number) - (0 if is_shared else before)}: {what}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
