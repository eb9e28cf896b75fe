"""What a million short texts cost: rate and memory of bulk prediction and a feature pass, killed half-way and resumed.

Each part runs in a process of its own, is watched from outside (/proc), killed with SIGKILL when half its texts are
done, and started again:

- tiny: ``tailtune predict --file --out`` with a tiny random model, so that nothing but the plumbing counts;
- bundle: the same with the classifier given by ``--bundle``, on fewer texts;
- store: a feature pass (pooled vectors at two depths) of the tiny model;
- long: single texts up to the context, with the classifier given by ``--bundle``; nothing is killed.

"loaded" is the memory when the first answers appear: the model and one chunk of texts. Writes bench/results/scale.json.

    .venv/bin/python bench/scale.py [--texts N] [--bundle FOLDER] [--bundle-texts N] [--only PART ...]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tailtune.runs import versions
from tailtune.storage import write_json

RESULTS = Path(__file__).resolve().parent / "results"
PARTS = ("tiny", "bundle", "store", "long")
POLL_SECONDS = 0.25
SAY_SECONDS = 5.0
# What texts are made of: a consonant, a vowel, a consonant.
WORDS = [first + vowel + last for first in "bcdfghklmnprstw" for vowel in "aeiou" for last in "bdgklmnprstxz"]


def write_texts(path: Path, count: int) -> Path:
    """Write ``count`` texts of 5 to 20 made-up words, one per line; always the same ones."""
    draw = random.Random(count)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            file.write(" ".join(draw.choices(WORDS, k=draw.randint(5, 20))) + "\n")
    return path


def tiny_model(folder: Path) -> tuple[Path, Path]:
    """Return a tiny random model and a bundle with a random probe on it, made by the support code of the tests."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from support.classifiers import probe_bundle
    from support.tiny_models import write_tiny_llama
    from tailtune.predict import Predictor

    model = write_tiny_llama(folder / "model")
    Predictor(probe_bundle(model)).save(folder / "bundle")
    return model, folder / "bundle"


@dataclass(kw_only=True)
class Watched:
    """One process, seen from outside.

    Attributes:
        seconds: From its start to its end.
        arrivals: (seconds, done) whenever more was done.
        loaded: Resident bytes when the first of it was done.
        peak: Most resident bytes.
        peak_own: Most resident bytes that are not pages of files, which the system takes back at will.
        out: What it printed.
    """

    seconds: float = 0.0
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    loaded: int = 0
    peak: int = 0
    peak_own: int = 0
    out: str = ""

    @property
    def done(self) -> int:
        """What was done when last looked at."""
        return self.arrivals[-1][1] if self.arrivals else 0

    def rate(self, first: float, last: float) -> float | None:
        """Return what was done per second between two amounts; None where that went by between two looks."""
        inside = [(seconds, done) for seconds, done in self.arrivals if first <= done <= last]
        if len(inside) < 2:
            return None
        return (inside[-1][1] - inside[0][1]) / (inside[-1][0] - inside[0][0])


def watch(command: Sequence[str], done: Callable[[], int], *, kill_at: int | None = None) -> Watched:
    """Return what a process looked like, killed once ``kill_at`` is done.

    Args:
        command: To run.
        done: Returns how much is done.
        kill_at: None to let it finish; it must then succeed.
    """
    seen = Watched()
    before, started, said = done(), time.monotonic(), 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            seen.seconds = time.monotonic() - started
            resident, own = memory(process.pid)
            seen.peak, seen.peak_own = max(seen.peak, resident), max(seen.peak_own, own)
            now = done()
            if now > max(seen.done, before):
                seen.loaded = seen.loaded or resident
                seen.arrivals.append((seen.seconds, now))
            if seen.seconds - said >= SAY_SECONDS:
                said = seen.seconds
                print(f"  {said:6.0f} s  {now:>12,} done  {resident / 1e6:>8,.0f} MB", flush=True)
            if kill_at is not None and now >= kill_at:
                process.kill()
        seen.out = process.stdout.read() if process.stdout else ""
    if kill_at is None and process.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}")
    return seen


def memory(process: int) -> tuple[int, int]:
    """Return the resident bytes of a process, and those of them that are no pages of files; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    sizes = {
        name: 1024 * int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if "kB" in rest
    }
    return sizes.get("VmRSS", 0), sizes.get("RssAnon", 0)


class Lines:
    """Counts the lines of a growing file, which is renamed when whole, reading each byte once."""

    def __init__(self, *names: Path) -> None:
        self._names = names
        self._read = self._count = 0

    def __call__(self) -> int:
        """Return the complete lines so far."""
        found = next((name for name in self._names if name.exists()), None)
        if found is not None:
            with found.open("rb") as file:
                file.seek(self._read)
                while block := file.read(1 << 20):
                    self._read += len(block)
                    self._count += block.count(b"\n")
        return self._count


def predicted(bundle: Path, texts: int, folder: Path) -> dict[str, Any]:
    """Return figures of a bulk prediction, killed half-way and resumed."""
    file, out = write_texts(folder / "texts.txt", texts), folder / "answers.jsonl"
    part = out.with_name(f"{out.name}.part")
    command = [sys.executable, "-m", "tailtune.cli", "predict", str(bundle), "--file", str(file), "--out", str(out)]
    killed = watch([*command, "--resume"], Lines(part), kill_at=texts // 2)
    left = Lines(part)()
    resumed = watch([*command, "--resume"], Lines(out, part))
    with out.open("rb") as answers:
        numbers = [json.loads(line)["line"] for line in answers]
    if numbers != list(range(1, texts + 1)):
        sys.exit(f"{len(numbers)} answers to {texts} texts, or not in order")
    return {**figures(texts, killed, resumed), "killed_at": left, "resumed_from": left}


def figures(total: int, killed: Watched, resumed: Watched) -> dict[str, Any]:
    """Return rates in texts (or tokens) per second, and memory in bytes, of both halves."""
    both = (killed, resumed)
    return {
        "total": total,
        "seconds": round(killed.seconds + resumed.seconds, 1),
        "per_second_first_third": killed.rate(0, total / 3),
        "per_second_last_third": resumed.rate(2 * total / 3, total),
        "rss_loaded": killed.loaded,
        "rss_max": max(seen.peak for seen in both),
        "rss_max_without_files": max(seen.peak_own for seen in both),
        "rss_growth": max(seen.peak for seen in both) - killed.loaded,
    }


def stored(model: Path, texts: int, folder: Path) -> dict[str, Any]:
    """Return figures of a feature pass in tokens, killed half-way and resumed."""
    file, told = write_texts(folder / "texts.txt", texts), folder / "done"
    command = [sys.executable, __file__, "--pass", str(model), str(file), str(folder / "store"), str(told)]

    def done() -> int:
        return int(told.read_text().split()[0] or 0) if told.exists() else 0

    tokens = token_count(model, file)
    killed = watch(command, done, kill_at=tokens // 2)
    at = done()
    told.unlink()
    resumed = watch(command, done)
    result = json.loads(resumed.out)
    shifted = [(seconds, done + tokens - result["computed_tokens"]) for seconds, done in resumed.arrivals]
    resumed.arrivals = shifted
    return {
        **figures(tokens, killed, resumed),
        "unit": "tokens",
        "texts": result["distinct_texts"],
        "killed_at": at,
        "resumed_from": tokens - result["computed_tokens"],
        "segments": len(list((folder / "store").glob("*/segment-*"))),
        "seconds_to_open": result["seconds_to_open"],
    }


def answered_long(bundle: Path) -> dict[str, Any]:
    """Return tokens, tokens per second and most resident bytes so far, of texts twice as long each time."""
    from tailtune.predict import Predictor
    from tailtune.runs import peak_rss_mib

    predictor, found, words = Predictor.load(bundle), [], write_words(64)
    while True:
        started = time.monotonic()
        (answer,) = predictor.predict([words])
        seconds = time.monotonic() - started
        found.append(
            {"tokens": answer.tokens, "per_second": round(answer.tokens / seconds), "peak_mib": peak_rss_mib()}
        )
        if answer.truncated:
            return {"texts": found}
        words = f"{words} {words}"


def write_words(count: int) -> str:
    """Return ``count`` made-up words; always the same ones."""
    return " ".join(random.Random(count).choices(WORDS, k=count))


def token_count(model: Path, file: Path) -> int:
    """Return the tokens of all distinct texts in ``file``."""
    from tailtune.text.tokenizer import Tokenizer

    texts = dict.fromkeys(file.read_text(encoding="utf-8").splitlines())
    return int(Tokenizer.of_model(model, max_tokens=256).encode(list(texts)).offsets[-1])


def run_pass(model: Path, file: Path, store: Path, told: Path) -> None:
    """Run the pass in this process, telling ``told`` the tokens done; then serve all of it from the disk."""
    import numpy as np
    import torch

    from tailtune.features.backbone import Backbone, Wanted
    from tailtune.features.store import FeatureStore
    from tailtune.models.weights import load_decoder
    from tailtune.text.tokenizer import Tokenizer

    backbone = Backbone(load_decoder(model), device=torch.device("cpu"))
    texts = file.read_text(encoding="utf-8").splitlines()
    tokens = Tokenizer.of_model(model, max_tokens=256).encode(texts)
    wanted, last = Wanted(pooled=(2, 4)), 0.0

    def progress(stage: str, done: int, total: int, unit: str) -> None:
        nonlocal last
        if done == total or time.monotonic() - last > POLL_SECONDS:
            last = time.monotonic()
            fresh = told.with_suffix(".new")
            fresh.write_text(f"{done} of {total} {unit}")
            fresh.replace(told)

    features = FeatureStore(store, {"weights": "tiny"}).features(backbone, tokens, wanted, progress=progress)
    started = time.monotonic()
    again = FeatureStore(store, {"weights": "tiny"}).features(backbone, tokens, wanted)
    if again.computed_texts or not np.isfinite(again.pooled(4)).all():
        sys.exit("the store does not hold what was computed")
    result = {
        "distinct_texts": features.distinct_texts,
        "computed_tokens": features.computed_tokens,
        "seconds_to_open": round(time.monotonic() - started, 2),
    }
    print(json.dumps(result))


def main() -> None:
    """Run the parts asked for and write their figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=1_000_000, help="of the parts with a tiny model")
    parser.add_argument("--bundle", type=Path, help="a bundle or run folder; without it those parts are left out")
    parser.add_argument("--bundle-texts", type=int, default=50_000)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, default=RESULTS / "scale.json")
    parser.add_argument("--pass", dest="inside", nargs=4, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        run_pass(*given.inside)
        return
    # Parts that are not run now stay as they were measured.
    before = json.loads(given.out.read_text(encoding="utf-8")) if given.out.is_file() else {}
    result: dict[str, Any] = {**before, "versions": versions(), "processors": os.cpu_count()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, bundle = tiny_model(folder)
        runs: dict[str, Callable[[Path], dict[str, Any]]] = {
            "tiny": lambda here: predicted(bundle, given.texts, here),
            "bundle": lambda here: predicted(given.bundle, given.bundle_texts, here),
            "store": lambda here: stored(model, given.texts, here),
            "long": lambda here: answered_long(given.bundle),
        }
        for part in given.only:
            if part in ("bundle", "long") and given.bundle is None:
                continue
            print(f"{part}:", flush=True)
            here = folder / f"run-{part}"
            here.mkdir()
            result[part] = runs[part](here)
            print(json.dumps(result[part], indent=2), flush=True)
            write_json(given.out, result)


if __name__ == "__main__":
    main()
