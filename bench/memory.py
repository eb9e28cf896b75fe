"""What a model takes of the memory: reading it, a pass, saving and opening a bundle, and ``tailtune train`` as a whole.

Each part runs in a process of its own that looks at /proc/self/status all the time. "own" is memory that only this
process has (RssAnon, less what it had before it began); "resident" counts pages of files too (VmHWM), which the system
drops when it needs room. Sizes are MB, and shares of the fp32 size of the blocks that are read. Without a folder a
random Llama of about 1 GB in bf16 is made. Writes bench/results/memory.json.

    .venv/bin/python bench/memory.py [FOLDER] [--depth N] [--only PART ...]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tailtune.runs import versions
from tailtune.storage import write_json

RESULTS = Path(__file__).resolve().parent / "results"
PARTS = ("plain", "mapped", "train")
POLL_SECONDS = 0.005
TEXTS, TOKENS = 8, 250


def status() -> dict[str, int]:
    """Return the fields of /proc/self/status that are sizes, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = (line.partition(":") for line in lines)
    return {name: 1024 * int(rest.split()[0]) for name, _, rest in fields if rest.endswith("kB")}


class Watch:
    """Samples this process's own memory in a thread, from when it is made."""

    def __init__(self) -> None:
        self.start = self.peak = status()["RssAnon"]
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            self.peak = max(self.peak, status()["RssAnon"])
            time.sleep(POLL_SECONDS)

    def stage(self, work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
        """Return what ``work`` gives, and MB and seconds that it took."""
        self.peak, started = status()["RssAnon"], time.perf_counter()
        given = work()
        seconds = round(time.perf_counter() - started, 1)
        now = status()
        self.peak = max(self.peak, now["RssAnon"])
        sizes = {"own_peak": self.peak - self.start, "own_after": now["RssAnon"] - self.start, "resident": now["VmHWM"]}
        return given, {**{name: round(size / 1e6) for name, size in sizes.items()}, "seconds": seconds}


def large_model(folder: Path) -> Path:
    """Return ``folder``, now holding a random Llama of 464 million weights in bf16."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from support.large_models import write_large_llama

    return write_large_llama(folder, width=1536, wide=4096, vocabulary=32000, blocks=16)


def model_part(model: Path, depth: int | None, mapped: bool) -> dict[str, Any]:
    """Return what reading, one pass of TEXTS x TOKENS tokens, and writing a bundle take."""
    import torch

    from tailtune.bundle import Bundle, read_bundle, write_bundle
    from tailtune.features.backbone import Backbone, Wanted
    from tailtune.labels import LabelSet
    from tailtune.methods.scorers import ProbeScorer
    from tailtune.models.weights import load_decoder
    from tailtune.text.tokenizer import Tokenizer, Tokens

    ids = np.random.default_rng(0).integers(0, 300, TEXTS * TOKENS).astype(np.int32)
    lengths = np.full(TEXTS, TOKENS)
    tokens = Tokens(ids=ids, offsets=np.arange(TEXTS + 1) * TOKENS, full_lengths=lengths)
    tokenizer = Tokenizer.load(model / "tokenizer.json", max_tokens=256)
    Backbone(load_decoder(model, depth=1).below(0), device=torch.device("cpu"))  # imports and settings
    watch, found = Watch(), {}
    decoder, found["load"] = watch.stage(lambda: load_decoder(model, depth=depth, map_above=0 if mapped else None))
    blocks = len(decoder.blocks)
    backbone, found["backbone"] = watch.stage(lambda: Backbone(decoder, device=torch.device("cpu")))
    _, found["pass"] = watch.stage(lambda: list(backbone.run(tokens, Wanted(pooled=(blocks,)))))
    array = np.zeros((1, 2 * decoder.config.width), dtype=np.float32)
    weight = np.zeros((1, 2, 2 * decoder.config.width), dtype=np.float32)
    scorer = ProbeScorer(
        depths=(blocks,), pooling="last+mean", mean=array, scale=array + 1, weight=weight, bias=np.zeros(2, np.float32)
    )
    bundle = Bundle(
        decoder=decoder.below(blocks), scorer=scorer, tokenizer=tokenizer, labels=LabelSet(names=("a", "b"))
    )
    with tempfile.TemporaryDirectory() as folder:
        _, found["save"] = watch.stage(lambda: write_bundle(bundle, Path(folder), extra={}))
        _, found["open"] = watch.stage(lambda: read_bundle(Path(folder)))
    return found


def train_part(model: Path, depth: int) -> dict[str, Any]:
    """Return what ``tailtune train --method probe`` takes, on 200 made-up texts."""
    from tailtune.cli import main

    with tempfile.TemporaryDirectory() as folder:
        draw, words = np.random.default_rng(0), [first + last for first in "bdgklmnprst" for last in "aeiou"]
        rows = [f"{'xy'[n % 2]},{'WINNER ' * (n % 2)}{' '.join(draw.choice(words, 12))}" for n in range(200)]
        file = Path(folder, "texts.csv")
        file.write_text("label,text\n" + "\n".join(rows))
        sys.argv = ["tailtune", "train", str(file), "--model", str(model), "--method", "probe", "--depth", str(depth)]
        sys.argv += ["--precision", "fp32", "--out", str(Path(folder, "run")), "--no-baselines"]
        _, found = Watch().stage(main)
    return found


def measure(part: str, model: Path, depth: int | None) -> dict[str, Any]:
    """Return what one part says, run in a process of its own with a cache of its own."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, __file__, str(model), "--child", part]
        command += ["--depth", str(depth)] if depth else []
        environment = {"TAILTUNE_HOME": home, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        done = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(part: str, model: Path, depth: int | None) -> None:
    """Measure one part in this process; its figures are the last line of the output."""
    found = train_part(model, depth or 2) if part == "train" else model_part(model, depth, part == "mapped")
    print(json.dumps(found))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--depth", type=int)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--child", choices=PARTS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.model, given.depth)
        return
    with tempfile.TemporaryDirectory() as folder:
        model = given.model or large_model(Path(folder))
        found = {part: measure(part, model, given.depth) for part in given.only}
    print(json.dumps(found, indent=2))
    write_json(RESULTS / "memory.json", {"depth": given.depth, "parts": found, "versions": versions()})


if __name__ == "__main__":
    main()
