"""An import that finds nothing: what was meant, or which package brings it."""

from __future__ import annotations

import ast
import difflib
import re
import sys
from pathlib import Path

# Modules whose packages have other names on PyPI.
PACKAGES = {
    "Crypto": "pycryptodome",
    "Levenshtein": "levenshtein",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "distutils": "setuptools",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "pymupdf",
    "jwt": "pyjwt",
    "magic": "python-magic",
    "pkg_resources": "setuptools<81",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "slugify": "python-slugify",
    "umap": "umap-learn",
    "yaml": "pyyaml",
}
# What is imported often; a name that is nearly one of these is likely a slip, and an index may hold something else
# under it.
_COMMON = {
    "catboost", "joblib", "keras", "lightgbm", "matplotlib", "nltk", "numpy", "onnxruntime", "pandas", "polars",
    "pydantic", "pyarrow", "requests", "scipy", "sentence_transformers", "spacy", "statsmodels", "tensorflow",
    "tokenizers", "torch", "torchvision", "transformers", "xgboost", *PACKAGES,
}  # fmt: skip
# Many packages share these names: that one is there tells nothing of the others.
_SHARED = {"azure", "google", "opentelemetry", "zope"}
_OWN = {"app", "commands", "denzel", "tests"}

_MISSING = re.compile(r"No module named '([\w.]+)'")
_NO_NAME = re.compile(r"cannot import name '(\w+)' from '(app(?:\.\w+)*)' ")


def missing_module(error: str) -> str | None:
    """The dotted name that could not be found; None if the error is another one."""
    match = _MISSING.search(error)
    return match[1] if match else None


def missing_name(error: str, root: Path) -> str | None:
    """What to do about a name that a module of the project does not have; None if the error is another one."""
    match = _NO_NAME.search(error)
    if not match or "partially initialized" in error:
        return None
    name, module = match.groups()
    path = root / module.replace(".", "/")
    if path.is_dir():
        return _no_file(path / name, root)
    file = path.with_suffix(".py")
    return f"{file.relative_to(root)} has no {name}{_there(_names_in(file), name)}"


def own_module(name: str, root: Path) -> str | None:
    """What to do about a missing module of the project's folder; None if that is none of its own."""
    first, *more = name.split(".")
    if first in _OWN:
        path = root / first
        for part in more:
            if not path.is_dir():  # a.b, where a.py is
                return (
                    f"{path.relative_to(root)}.py is a module, not a folder with further ones: see how it is imported"
                )
            if not (path / part).exists() and not (path / f"{part}.py").is_file():
                return _no_file(path / part, root)
            path = path / part
        return f"containers have app/ and denzel/ of this folder, not {first}/: move what you import into app/logic/"
    logic = root / "app/logic"
    there = [file[:-3].removesuffix("/") for file in _modules_in(logic)]
    if first in there or (logic / first).is_dir():
        return f'import it as "from app.logic import {first}" or "from app.logic.{first} import ..."'
    if meant := _nearly(first, there):
        return f'there is no module {first}; for {_file_of(logic, meant)} write "from app.logic import {meant}"'
    return None


def misspelt(name: str, required: set[str]) -> str | None:
    """The well-known module, or one of the required packages, that is likely meant; None if there is none."""
    first = name.split(".")[0]
    if first in _COMMON or normalized(first) in required:
        return None
    known = _COMMON | {package.replace("-", "_") for package in required}
    return _nearly(first, known, 0.8) or _nearly(first, set(sys.stdlib_module_names), 0.8)


def lacking_submodule(name: str) -> bool:
    """Whether the package itself is there: Python names the first part that it does not find."""
    return "." in name and name.split(".")[0] not in _SHARED


def normalized(package: str) -> str:
    """A package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", package).lower()


def _no_file(path: Path, root: Path) -> str:
    there = _modules_in(path.parent)
    return f"{path.relative_to(root)}.py does not exist{_there(there, path.name)}"


def _there(names: list[str], wanted: str) -> str:
    if not names:
        return ""
    if meant := _nearly(wanted, [name.removesuffix(".py") for name in names]):
        names = sorted(names, key=lambda name: name.removesuffix(".py") != meant)
    more = ", ..." if len(names) > 8 else ""
    return f"; there {'are' if len(names) > 1 else 'is'}: {', '.join(names[:8])}{more}"


def _nearly(name: str, known: list[str] | set[str], cutoff: float = 0.7) -> str | None:
    by_lower = {word.lower(): word for word in sorted(known)}
    found = difflib.get_close_matches(name.lower(), by_lower, 1, cutoff)
    return by_lower[found[0]] if found and by_lower[found[0]] != name else None


def _file_of(folder: Path, module: str) -> str:
    return f"{module}/" if (folder / module).is_dir() else f"{module}.py"


def _modules_in(folder: Path) -> list[str]:
    """The files that can be imported from a folder, as `NAME.py` or `NAME/`."""
    found = (
        [path.name for path in folder.glob("*.py") if not path.name.startswith(("__", "."))] if folder.is_dir() else []
    )
    found += [f"{path.parent.name}/" for path in folder.glob("*/__init__.py")]
    return sorted(found)


def _names_in(file: Path) -> list[str]:
    """What a module defines at its top, read and not run."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return []
    names = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [target.id for target in targets if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith("_")]
