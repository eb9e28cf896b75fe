"""What training the chapter's recipe costs: a loop as the chapter has it, and Tailtune, side by side in one process.

Same weights, same texts, same recipe (5 epochs, last block + final norm + head, AdamW 5e-5, batches of 8):

- reference: the reference library's classifier; every text padded or cut to 120 tokens, the whole model run in each
  step, gradients for the last block only. A sample of the steps is timed, half before and half after the other run, and
  the median is multiplied; ``--whole`` runs all of them. Only steps count, although the chapter also evaluates on the
  way (180 forward batches, about a fifth on top).
- tailtune: model load, tokens, backbone pass into an empty store, tail training, and validation after each epoch; all
  of it run, all of it counted.

The reference library is the oracle too: both give the same class logits for the same head before anything is timed.
Writes bench/results/chapter.json.

    .venv/bin/python bench/chapter.py [--data FILE] [--steps N] [--whole]
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tailtune.config import resolve
from tailtune.data.dataset import Dataset
from tailtune.data.split import Split, without_unused
from tailtune.learn import Learnt, learn
from tailtune.models import catalog
from tailtune.models.weights import load_decoder
from tailtune.runs import Stopwatch, versions
from tailtune.storage import write_json
from tailtune.text.packing import pack
from tailtune.text.tokenizer import Tokenizer
from tailtune.train import prepare

PADDED = 120
BATCH = 8
EPOCHS = 5
TOLERANCE = 1e-3
RESULTS = Path(__file__).resolve().parent / "results"


class Reference:
    """The reference library's classifier, frozen below its last block, on texts padded to 120."""

    def __init__(self, folder: Path, texts: list[str], labels: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        from transformers import AutoModelForSequenceClassification

        self.model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2).eval()
        self.model.requires_grad_(False)
        base = self.model.model
        for part in (base.layers[-1], base.norm, self.model.score):
            part.requires_grad_(True)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=5e-5, weight_decay=0.1)
        tokens = Tokenizer.load(folder / "tokenizer.json", max_tokens=PADDED).encode(texts)
        self.ids = torch.zeros((len(texts), PADDED), dtype=torch.int64)
        for row, (start, stop) in enumerate(zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)):
            self.ids[row, : stop - start] = torch.from_numpy(tokens.ids[start:stop].astype(np.int64))
        self.last = torch.from_numpy(tokens.lengths - 1)
        self.labels = torch.from_numpy(labels)

    def logits(self, rows: Tensor) -> Tensor:
        """Return [rows, 2]: the head at the last real token of each padded text."""
        states = self.model.model(input_ids=self.ids[rows]).last_hidden_state
        scores: Tensor = self.model.score(states[torch.arange(len(rows)), self.last[rows]])
        return scores

    def step(self, rows: Tensor) -> float:
        """Return the seconds of one optimiser step."""
        started = time.perf_counter()
        loss = functional.cross_entropy(self.logits(rows), self.labels[rows])
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return time.perf_counter() - started


def check_same_maths(reference: Reference, folder: Path, learnt_ids: int = 16) -> float:
    """Return the largest difference of class logits between the two, relative; fails above TOLERANCE."""
    decoder = load_decoder(folder)
    rows = torch.arange(learnt_ids)
    lengths = reference.last[rows].numpy() + 1
    batch = pack(rows.numpy(), lengths)
    layout = decoder.layout(batch, torch.device("cpu"))
    ids = torch.cat([reference.ids[row, : lengths[row]] for row in batch.texts])
    with torch.inference_mode():
        ours = decoder.read_last(decoder.embed(ids, layout), layout) @ reference.model.score.weight.T
        theirs = reference.logits(torch.from_numpy(batch.texts))
    worst = float((ours - theirs).abs().max() / theirs.abs().max())
    if worst > TOLERANCE:
        sys.exit(f"the two models disagree: {worst:.2g}")
    return worst


def sample(reference: Reference, steps: int, seed: int) -> list[float]:
    """Return the seconds of ``steps`` steps on random batches, one warm-up step not counted."""
    order = torch.randperm(len(reference.ids), generator=torch.Generator().manual_seed(seed))
    batches = order[: len(order) // BATCH * BATCH].view(-1, BATCH)
    return [reference.step(batches[number % len(batches)]) for number in range(steps + 1)][1:]


def run_tailtune(dataset: Dataset, split: Split, data: str) -> tuple[Learnt, dict[str, float], float]:
    """Return what was learnt from an empty store, its seconds per stage, and in all."""
    config = resolve({"data": data, "recipe": "chapter", "method": "tail", "depth": "last"}).config
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as store:
        started = time.perf_counter()
        learnt = learn(dataset, split, config, store=Path(store), watch=watch)
        seconds = time.perf_counter() - started
    return learnt, watch.as_json(), seconds


def main() -> None:
    """Run both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", default="sms-spam", help="file or named data set")
    parser.add_argument("--steps", type=int, default=16, help="steps of the reference loop to time")
    parser.add_argument("--whole", action="store_true", help="run the whole reference loop")
    given = parser.parse_args()

    dataset, split = prepare(resolve({"data": given.data, "recipe": "chapter"}).config)
    # Training reads training and validation texts only; the test part is not part of its cost.
    none = np.empty(0, dtype=np.int64)
    parts = Split(
        train=split.train,
        validation=split.validation,
        test=none,
        unused=none,
        groups=split.groups,
        kind="chapter",
        seed=0,
    )
    used, parts = without_unused(dataset, parts)
    folder = catalog.resolve("smollm2-135m-instruct").path
    labels = np.array([used.classes.index(used.labels[row]) for row in parts.train])
    reference = Reference(folder, [used.texts[row] for row in parts.train], labels)
    difference = check_same_maths(reference, folder)
    steps = EPOCHS * math.ceil(len(parts.train) / BATCH)
    timed = steps if given.whole else given.steps
    before = sample(reference, timed - timed // 2, seed=0)
    learnt, stages, ours = run_tailtune(used, parts, given.data)
    after = sample(reference, timed // 2, seed=1)
    theirs = sum(before + after) if given.whole else steps * statistics.median(before + after)
    result = {
        "what": "training the chapter's recipe: 5 epochs, last block, full depth, batches of 8",
        "model": "smollm2-135m-instruct",
        "data": {"name": given.data, "sha256": used.sha256},
        "training_texts": len(parts.train),
        "tokens": learnt.tokens,
        "logits_relative_difference": difference,
        "reference_seconds": round(theirs, 1),
        "reference_steps": steps,
        "reference_steps_timed": timed,
        "reference_step_seconds": {"median": statistics.median(before + after), "all": before + after},
        "tailtune_seconds": round(ours, 1),
        "tailtune_stages": stages,
        "ratio": round(theirs / ours, 2),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    write_json(RESULTS / "chapter.json", result)
    print(f"reference loop, padded to {PADDED}: {theirs:8.1f} s  ({steps} steps, {timed} timed)")
    print(f"tailtune, same maths:        {ours:8.1f} s  {stages}")
    print(f"ratio:                       {theirs / ours:8.1f}")


if __name__ == "__main__":
    main()
