"""How near `tailtune models list --for` comes to what a pass and a tail really take: 500 messages, the default model.

Seconds are the processor's, on one thread: other work on the machine then changes neither side much.

    OMP_NUM_THREADS=1 TAILTUNE_DATA=DIR .venv/bin/python bench/estimate.py
"""

from __future__ import annotations

import contextlib
import csv
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from tailtune.data.catalog import open_dataset
from tailtune.estimate import distinct_texts, estimate_folder, speed
from tailtune.features.backbone import Backbone, Wanted
from tailtune.learn import learn
from tailtune.models.families import read_config
from tailtune.models.sources import catalog
from tailtune.models.weights import load_decoder
from tailtune.parts import prepare
from tailtune.resolving import resolve
from tailtune.runs import Stopwatch
from tailtune.storage import read_json
from tailtune.text.tokenizer import Tokenizer

MODEL = "smollm2-135m-instruct"
TEXTS = 500


class ProcessorWatch(Stopwatch):
    """Processor seconds per stage."""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the processor's time spent inside to the stage ``name``."""
        started = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - started


def main() -> None:
    """Print estimated and real seconds, and their ratio."""
    torch.set_num_threads(1)
    folder = catalog.resolve(MODEL).path
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "messages.csv"
        _write_sample(data)
        width = read_config(read_json(folder / "config.json")).width
        estimate = estimate_folder(folder, distinct_texts(str(data)), speed(width, time.process_time))
        passed, tail = _pass_seconds(folder, distinct_texts(str(data))), _tail_seconds(data, Path(temporary) / "store")
    print(f"{estimate.texts} texts, {estimate.tokens} tokens, products at {estimate.gflops:.0f} GFLOP/s")
    for name, estimated, real in (("pass", estimate.pass_seconds, passed), ("tail", estimate.tail_seconds, tail)):
        print(f"{name}: estimated {estimated:.1f} s, real {real:.1f} s, ratio {estimated / real:.2f}")


def _write_sample(path: Path) -> None:
    dataset = open_dataset("sms-spam")
    rows = random.Random(0).sample(range(len(dataset)), TEXTS)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((dataset.texts[row], dataset.labels[row]) for row in rows)])


def _pass_seconds(folder: Path, texts: list[str]) -> float:
    """Processor seconds of one pass through all blocks."""
    decoder = load_decoder(folder)
    backbone = Backbone(decoder.below(decoder.config.blocks), device=torch.device("cpu"))
    tokens = Tokenizer.load(folder / "tokenizer.json", max_tokens=decoder.config.context).encode(texts)
    started = time.process_time()
    for _ in backbone.run(tokens, Wanted(states=(backbone.depth,))):
        pass
    return time.process_time() - started


def _tail_seconds(data: Path, store: Path) -> float:
    """Processor seconds of the pass below the last block and of training that block."""
    settings = {"data": str(data), "model": MODEL, "method": "tail", "depth": "last", "precision": "fp32", "threads": 1}
    config = resolve(settings).config
    dataset, split = prepare(config)
    watch = ProcessorWatch()
    learn(dataset, split, config, store=store, watch=watch)
    return watch.seconds["backbone"] + watch.seconds["method"]


if __name__ == "__main__":
    main()
