"""MLServer with its adaptive batching, over its own protocol: rows of numbers in, species out."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import iris
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Iris(MLModel):
    async def load(self) -> bool:
        self.model = iris.load_model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        species = self.model.predict(NumpyCodec.decode_input(payload.inputs[0]))
        names = [iris.pipeline.SPECIES[number] for number in species]
        return InferenceResponse(model_name=self.name, outputs=[StringCodec.encode_output("predict", names)])
