"""(g) The fine-tuned classifier as onnxruntime reads it, in fp32 and in int8; made for the bench only."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tailtune.bench import reference
from tailtune.bench.machine import library
from tailtune.bench.material import load_material


class LastRow(nn.Module):
    """What is exported: ids and mask to scores at each text's last token, nothing remembered between calls.

    Args:
        model: The reference library's classifier.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return [N, C] scores.

        Args:
            ids: [N, L] int64, padded on the right.
            mask: [N, L] int64, 1 at tokens and 0 at pads.
        """
        states = self.model.model(input_ids=ids, attention_mask=mask).last_hidden_state
        # Not ``len(ids)``: tracing would write the example's number of texts into the file.
        scores: Tensor = self.model.score(states[torch.arange(ids.shape[0]), mask.sum(dim=1) - 1])
        return scores


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Write fp32.onnx and int8.onnx; return seconds and sizes in bytes.

    Args:
        request: That of ``load_material``; ``work`` holds the bundle ``same`` and takes the files.
    """
    material, work = load_material(request), Path(request["work"])
    started = time.perf_counter()
    model = reference.fine_tuned(material.model, work / "same")
    files = {"fp32": work / "fp32.onnx", "int8": work / "int8.onnx"}
    _write(LastRow(model), files["fp32"])
    quantization = library("onnxruntime.quantization")
    quantization.quantize_dynamic(str(files["fp32"]), str(files["int8"]), weight_type=quantization.QuantType.QInt8)
    return {
        "seconds": time.perf_counter() - started,
        "bytes": {name: file.stat().st_size for name, file in files.items()},
    }


def _write(model: LastRow, file: Path) -> None:
    library("onnx")  # the exporter would only say so after its work
    ids = torch.ones((2, 16), dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    axes = {0: "texts", 1: "tokens"}
    torch.onnx.export(
        model.eval(),
        (ids, mask),
        str(file),
        dynamo=False,  # traces with both axes open, and needs no package beside onnx
        opset_version=17,
        input_names=["ids", "mask"],
        output_names=["logits"],
        dynamic_axes={"ids": axes, "mask": axes, "logits": {0: "texts"}},
    )
