"""MLServer, over its own protocol: a tensor of rows of numbers in, or of texts; one of predictions out."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import work
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Model(MLModel):
    async def load(self) -> bool:
        self.model = work.load_model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        [sent] = payload.inputs
        if sent.datatype == "BYTES":
            texts = StringCodec.decode_input(sent)
            found = list(work.answer(self.model, {"data": dict(enumerate(texts))}).values())
        else:
            rows = NumpyCodec.decode_input(sent)
            found = list(work.pipeline.predict(self.model, (range(len(rows)), rows)).values())
        if isinstance(found[0], str):
            output = StringCodec.encode_output("predict", found)
        else:
            output = NumpyCodec.encode_output("predict", np.array(found).reshape(-1, 1))
        return InferenceResponse(model_name=self.name, outputs=[output])
