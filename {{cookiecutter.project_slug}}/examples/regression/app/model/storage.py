"""How a model is kept in a file: as JSON, which any version of Python and NumPy can read, and which runs no code."""

from __future__ import annotations

import json
from pathlib import Path

from app.model.regressors import MultivariateRegressor, PolynomialRegressor, Regressor

_CLASSES = {"MultivariateRegressor": MultivariateRegressor, "PolynomialRegressor": PolynomialRegressor}


def save(model: Regressor, path: str | Path) -> None:
    """Write a fitted model into a file."""
    content = {"class": type(model).__name__, **model.to_dict()}
    Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load(path: str | Path) -> Regressor:
    """The model of a file. Raises ValueError: it holds none."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        options = {"degree": content["degree"]} if "degree" in content else {}
        return _CLASSES[content["class"]](**options).restore(content)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no model that can be read: {error!r}") from error
