"""Take a version of Swagger UI into the template: `python .ci/update_swagger_ui.py 5.35.0` (npm does the download).

What is taken is served by projects as it is, at /docs. Its version and digests are noted beside it, in vendored.json,
and a test compares them. Look at /docs in a browser afterwards, light and dark, wide and narrow.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "swagger-ui-dist"
FILES = ("swagger-ui-bundle.js", "swagger-ui.css")
LICENCES = ("NOTICE", "LICENSE", "swagger-ui-bundle.js.LICENSE.txt")
PAGES = Path(__file__).resolve().parents[1] / "{{cookiecutter.project_slug}}/denzel/pages"


def main(version: str) -> None:
    """Replace the files in the template by those of this version."""
    with tempfile.TemporaryDirectory() as folder:
        # npm compares the package with the digest that the registry names
        subprocess.run(["npm", "pack", "--silent", f"{PACKAGE}@{version}"], cwd=folder, check=True)
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            content = {name: _read(archive, name) for name in (*FILES, *LICENCES)}
    for name in FILES:
        # browsers that look for the map would not find it
        content[name] = b"".join(
            line for line in content[name].splitlines(keepends=True) if b"sourceMappingURL=" not in line[:40]
        )
        (PAGES / name).write_bytes(content[name])
    licence = "\n\n".join(content[name].decode().strip() for name in LICENCES)
    (PAGES / "swagger-ui.LICENSE.txt").write_text(f"{licence}\n", encoding="utf-8")
    digests = {name: hashlib.sha256(content[name]).hexdigest() for name in FILES}
    note = {"package": PACKAGE, "version": version, "licence": "Apache-2.0", "sha256": digests}
    (PAGES / "vendored.json").write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(f"package/{name}")
    assert file is not None
    return file.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
