"""A small sentence encoder as the model: beside the default model, n-grams and what people make of its embeddings.

For each data set one split of a sample: accuracy on its test rows of probes on both models, of the baselines, and of
scikit-learn's logistic regression on L2-normalised mean vectors, its C chosen by log loss on the validation rows. Then
the seconds that both models take for 300 messages. Writes bench/results/encoder.json.

    TAILTUNE_DATA=DIR .venv/bin/python bench/encoder.py [--rows 3000] [--encoder minilm-l6]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from public_sets import SETS, sms_spam, written
from tailtune.config import DEFAULT_MODEL
from tailtune.data.split import without_unused
from tailtune.features.backbone import Backbone, Wanted
from tailtune.methods.scorers import in_order, pool
from tailtune.models.int8 import to_int8
from tailtune.models.sources.catalog import resolve as resolve_model
from tailtune.models.weights import load_decoder
from tailtune.parts import prepare
from tailtune.resolving import resolve
from tailtune.runs import versions
from tailtune.storage import write_json
from tailtune.text.tokenizer import Tokenizer, Tokens
from tailtune.train import train

RESULTS = Path(__file__).resolve().parent / "results"
CPU = torch.device("cpu")
# As high as the default model's cut on the collection of messages.
DEPTH = 18


def trained(file: str, model: str, folder: Path) -> dict[str, Any]:
    """Return accuracies by name, and the depth, of a probe on ``model`` and its baselines."""
    fixed = {"method": "probe", "doubts": False, "highlights": False, "baselines": "tfidf"}
    metrics = train(resolve({"data": file, "model": model, "out": str(folder), **fixed}).config).metrics
    others = {name: each["accuracy"] for name, each in metrics["baselines"].items()}
    about = {"depth": metrics["depth"], "precision": metrics["precision"], "seconds": metrics["seconds"]["total"]}
    return {"probe": metrics["test"]["accuracy"], "interval": metrics["test"]["accuracy_interval"], **others, **about}


def usual(file: str, model: str) -> float:
    """Return the accuracy on the test rows of logistic regression on normalised mean vectors."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    dataset, split = without_unused(*prepare(resolve({"data": file}).config))
    folder, labels = resolve_model(model).path, np.array(dataset.labels)
    decoder = load_decoder(folder)
    vectors = means(Backbone(decoder, device=CPU), encoded(folder, dataset.texts, decoder.config.context))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    fitted = [
        LogisticRegression(C=penalty, max_iter=300).fit(vectors[split.train], labels[split.train])
        for penalty in (1.0, 10.0, 100.0)
    ]
    held_out = vectors[split.validation], labels[split.validation]
    best = min(fitted, key=lambda each: log_loss(held_out[1], each.predict_proba(held_out[0]), labels=each.classes_))
    return float(np.mean(best.predict(vectors[split.test]) == labels[split.test]))


def encoded(folder: Path, texts: tuple[str, ...], context: int) -> Tokens:
    """Return the token ids of the texts."""
    return Tokenizer.of_model(folder, max_tokens=context).encode(texts)


def means(backbone: Backbone, tokens: Tokens) -> NDArray[np.float32]:
    """Return [texts, D] the mean states above the last block that ``backbone`` holds."""
    wanted = Wanted(pooled=(backbone.depth,))
    return in_order(
        [(piece.batch.texts, pool(piece.pooled[backbone.depth], "mean")) for piece in backbone.run(tokens, wanted)]
    )


def seconds(model: str, texts: tuple[str, ...], depth: int | None) -> dict[str, float]:
    """Return the least of three times that a pass over the texts takes, in fp32 and in int8."""
    folder = resolve_model(model).path
    decoder = load_decoder(folder, depth=depth)
    backbone = decoder.below(len(decoder.blocks))
    tokens = encoded(folder, texts, decoder.config.context)
    found = {}
    for name, made in (("fp32", backbone), ("int8", to_int8(backbone))):
        ready, times = Backbone(made, device=CPU), []
        for _ in range(3):
            started = time.perf_counter()
            means(ready, tokens)
            times.append(time.perf_counter() - started)
        found[name] = min(times)
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="An encoder beside a language model.")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--sets", nargs="*", default=["SMS spam", "SNIPS", "CLINC150"])
    parser.add_argument("--encoder", default="minilm-l6")
    given = parser.parse_args()
    root = Path(os.environ["TAILTUNE_DATA"])
    result: dict[str, Any] = {"rows": given.rows, "versions": versions()}
    with tempfile.TemporaryDirectory() as temporary:
        for name in given.sets:
            place = Path(temporary) / name
            place.mkdir()
            file = written(SETS[name](root), given.rows, place.with_suffix(".csv"))
            runs = {Path(m).name: trained(file, m, place / Path(m).name) for m in (given.encoder, DEFAULT_MODEL)}
            result[name] = {**runs, "normalised": usual(file, given.encoder)}
            print(name, result[name], flush=True)
    messages = tuple(text for text, _ in sms_spam(root)[:300])
    both = ((given.encoder, None), (DEFAULT_MODEL, DEPTH))
    result["seconds"] = {Path(model).name: seconds(model, messages, depth) for model, depth in both}
    print(result["seconds"])
    write_json(RESULTS / "encoder.json", result)


if __name__ == "__main__":
    main()
