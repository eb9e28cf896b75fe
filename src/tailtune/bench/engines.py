"""One classifier, answered by several engines: (f) the reference library's pipeline, (g) onnxruntime, (h) Tailtune."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tailtune.bench import reference
from tailtune.bench.machine import library
from tailtune.bench.material import Material, load_material, pieces
from tailtune.bench.timing import timed
from tailtune.methods.scorers import probabilities
from tailtune.predict import Predictor
from tailtune.runs import peak_rss_mib

Engine = Callable[[Sequence[str]], NDArray[np.float64]]
"""Texts to probabilities [texts, C], in the order of the classes."""

# Texts that the pipeline and onnxruntime pad to the longest of and compute together.
BATCH = 8


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the seconds of single texts, of many texts together, and the accuracy on these.

    Args:
        request: That of ``load_material``; ``engine`` is a key of ENGINES, ``work`` holds what it loads, ``texts`` to
            answer together, ``singles`` (start, stop) of the texts to answer one by one.
    """
    material = load_material(request)
    load, engine = timed(lambda: ENGINES[request["engine"]](material, Path(request["work"])))
    texts, (first, last) = material.test_texts[: request["texts"]], request["singles"]
    engine(texts[:BATCH])
    engine(texts[:1])
    single = [timed(functools.partial(engine, [text]))[0] for text in material.test_texts[first:last]]
    seconds, answers = timed(lambda: engine(texts))
    return {
        "load_seconds": load,
        "single_seconds": single,
        "batched_seconds": seconds,
        "texts": len(texts),
        "tokens": int(material.tokenizer().encode(texts).offsets[-1]),
        "score": material.score(answers),
        "probabilities": answers.tolist(),
        "peak_mib": peak_rss_mib(),
    }


def pipeline(material: Material, work: Path) -> Engine:
    """Return the reference library's pipeline on the weights that were fine-tuned here, in batches of BATCH.

    Args:
        material: Names the pretrained model.
        work: Holds the bundle ``same``.
    """
    model = reference.fine_tuned(material.model, work / "same")
    tokenizer = reference.tokenizer(material.model)
    answer = library("transformers").pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")

    def engine(texts: Sequence[str]) -> NDArray[np.float64]:
        found = answer(list(texts), top_k=None, batch_size=min(BATCH, len(texts)))
        scores = [{entry["label"]: entry["score"] for entry in entries} for entries in found]
        return np.array([[row[model.config.id2label[n]] for n in range(len(row))] for row in scores])

    return engine


def onnx(material: Material, work: Path, *, file: str) -> Engine:
    """Return onnxruntime on the exported classifier, in batches of BATCH, on as many threads as PyTorch.

    Args:
        material: Names the pretrained model.
        work: Holds ``file``.
        file: What ``tailtune.bench.export`` wrote.
    """
    onnxruntime = library("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(work / file), options, providers=["CPUExecutionProvider"])
    encode = material.tokenizer().encode

    def engine(texts: Sequence[str]) -> NDArray[np.float64]:
        ids = pieces(encode(texts))
        found = [_padded(ids[start : start + BATCH]) for start in range(0, len(ids), BATCH)]
        return probabilities(np.concatenate([session.run(None, batch)[0] for batch in found]))

    return engine


def _padded(ids: Sequence[NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    """One batch as the exported classifier reads it; pads hold 0 and are masked."""
    longest = max(map(len, ids))
    return {
        "ids": np.stack([np.pad(text, (0, longest - len(text)), constant_values=0) for text in ids]),
        "mask": np.stack([(np.arange(longest) < len(text)).astype(np.int64) for text in ids]),
    }


def tailtune(material: Material, work: Path, *, bundle: str) -> Engine:
    """Return Tailtune's own answers from a saved bundle.

    Args:
        material: Not needed; engines are all made alike.
        work: Holds the bundle.
        bundle: Its name.
    """
    return Predictor.load(work / bundle).predict_proba


ENGINES: Mapping[str, Callable[[Material, Path], Engine]] = {
    "pipeline": pipeline,
    "onnx-fp32": functools.partial(onnx, file="fp32.onnx"),
    "onnx-int8": functools.partial(onnx, file="int8.onnx"),
    "tailtune-equal": functools.partial(tailtune, bundle="same"),
    "tailtune-chosen": functools.partial(tailtune, bundle="auto"),
}
"""By name: what makes an engine from the material and the folder with the trained classifiers."""
