"""Print so many distinct requests, each with the answer that the pipeline gives in this process, as lines of JSON."""

from __future__ import annotations

import json
import random
import sys

import iris

FEATURES = {
    "sepal-length": (4.0, 8.0),
    "sepal-width": (2.0, 4.5),
    "petal-length": (1.0, 7.0),
    "petal-width": (0.1, 2.5),
}

model = iris.load_model()
chance = random.Random(1)
for number in range(int(sys.argv[1])):
    flowers = {
        f"{number}-{flower}": {name: round(chance.uniform(*limits), 3) for name, limits in FEATURES.items()}
        for flower in range(chance.randint(1, 3))
    }
    print(json.dumps([{"data": flowers}, iris.answer(model, iris.verify({"data": flowers}))]))
