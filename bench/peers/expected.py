"""Print this many requests of a workload as lines of JSON, each with the answer that its pipeline gives by itself.

The first one is what the servers are measured with; no two are the same.
"""

from __future__ import annotations

import json
import sys

import work

model = work.load_model()
for number in range(int(sys.argv[1])):
    request = work.pipeline.example(number)
    print(json.dumps([request, work.answer(model, work.verify(request))]))
