"""What `tailtune serve` holds under load, beside the same classifier offline and beside a plain service.

The load comes from a process of its own on the same machine (bench/service_load.py) and sends the messages of the SMS
Spam Collection in random order; each answer is compared with the one computed offline. Parts, each a key of
bench/results/service.json, what is not run now stays as it was measured:

- offline: answers of all texts in chunks of 256, on all threads and with one batch per core; single texts;
- single: one text at a time through the service;
- sustained: as many as it answers to 64 connections that are never idle;
- half: Poisson arrivals at half that rate;
- overload: Poisson arrivals at ten times that rate, with the memory of the service and the times of GET /health;
- beside: the largest rate at which 99 of 100 answers come within a second, for the service and for FastAPI with the
  reference library's pipeline on the same pretrained model at its whole depth (bench/service_reference.py);
- stop: SIGTERM under load;
- kill: SIGKILL under load, and a start again.

    .venv/bin/python bench/service.py RUN [--only PART ...] [--minutes 10]     # RUN is trained where it is absent
    .venv/bin/python bench/service.py --table
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scale import memory
from service_load import Plan, Seen
from service_running import HERE, Running, free_port, ours, plain, unlimited
from service_table import table
from tailtune.bench.machine import describe
from tailtune.machine import cores
from tailtune.storage import read_json, write_json

RESULTS = HERE / "results" / "service.json"
PARTS = ("offline", "single", "sustained", "half", "overload", "beside", "stop", "kill")
CHUNK = 256
MEMORY_EVERY_SECONDS = 5.0
# Sent so long before a signal, a request has certainly been read by the service.
CERTAINLY_READ_SECONDS = 0.05
ROUNDS = 3
MOST_TRIALS = 10
# Nearer bounds than this cannot be told apart by trials of half a minute.
NEAR = 1.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """What all parts share.

    Attributes:
        run: The run folder.
        folder: For files on the way.
        texts: Of the data, each once.
        expected: Of each text label and probabilities by name.
        seconds: Of one measurement.
        minutes: Of the overload.
        connections: Of closed loops.
        target: Seconds within which 99 of 100 answers shall come.
        found: Parts measured so far.
    """

    run: Path
    folder: Path
    texts: Sequence[str]
    expected: Sequence[tuple[str, Mapping[str, float]]]
    seconds: float
    minutes: float
    connections: int
    target: float
    found: dict[str, Any] = field(default_factory=dict)

    def load(self, port: int, *, watched: Callable[[float], None] | None = None, **plan: Any) -> Seen:
        """Return what a load came to; ``watched`` is called with the seconds since its start now and then."""
        given = {"texts": self.texts, "expected": self.expected, "connections": self.connections, **plan}
        if given.get("protocol") == "plain":
            given["expected"] = ()
        process, answer = self.start_load(Plan(port=port, **given))
        started = time.monotonic()
        with process:
            while process.poll() is None:
                if watched is not None:
                    watched(time.monotonic() - started)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(MEMORY_EVERY_SECONDS)
        if process.returncode:
            sys.exit(f"the load client ended with {process.returncode}")
        return Seen(**read_json(answer))

    def start_load(self, plan: Plan) -> tuple[subprocess.Popen[bytes], Path]:
        """Return the process that carries out ``plan``, and where it writes what it saw."""
        asked, answer = self.folder / "plan.json", self.folder / "seen.json"
        answer.unlink(missing_ok=True)
        write_json(asked, asdict(plan))
        return subprocess.Popen([sys.executable, str(HERE / "service_load.py"), str(asked), str(answer)]), answer

    def warm(self, port: int, **plan: Any) -> None:
        """Let a service answer for some seconds."""
        self.load(port, seconds=min(5.0, self.seconds), **plan)


def spread_of(seconds: Sequence[float]) -> dict[str, float]:
    """Return count, mean and quantiles of some times."""
    if not len(seconds):
        return {"count": 0}
    p50, p90, p99 = np.quantile(seconds, (0.5, 0.9, 0.99)).tolist()
    mean, most = float(np.mean(seconds)), float(np.max(seconds))
    return {"count": len(seconds), "mean": mean, "p50": p50, "p90": p90, "p99": p99, "max": most}


def figures(seen: Seen) -> dict[str, Any]:
    """Return the figures of a load."""
    counts = (
        "sent",
        "answered",
        "wrong",
        "refused",
        "without_retry_after",
        "lost",
        "lost_why",
        "reconnected",
        "seconds",
    )
    return {
        **{name: getattr(seen, name) for name in counts},
        "per_second": seen.answered / seen.seconds,
        "answer_seconds": spread_of(seen.latencies),
        "refusal_seconds": spread_of(seen.refusals),
        "lag_seconds": spread_of(seen.lags),
    }


def offline(run: Path, texts: Sequence[str], answer: Path) -> None:
    """Write answers and times of one process; alone in it."""
    import torch

    from tailtune.predict import Predictor

    predictor = Predictor.load(run)
    threads = torch.get_num_threads()
    chunks = [texts[start : start + CHUNK] for start in range(0, len(texts), CHUNK)]
    predictor.predict(chunks[0])
    started = time.perf_counter()
    found = [each for chunk in chunks for each in predictor.predict(chunk)]
    together = time.perf_counter() - started
    singles = {f"{threads}": _single_seconds(predictor, texts)}
    torch.set_num_threads(1)
    singles["1"] = _single_seconds(predictor, texts)
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(predictor.predict, chunks[: cores()]))
        started = time.perf_counter()
        list(pool.map(predictor.predict, chunks))
        apart = time.perf_counter() - started
    result = {
        "texts": len(texts),
        "tokens": sum(each.tokens for each in found),
        "threads": threads,
        "per_second_together": len(texts) / together,
        "per_second_apart": len(texts) / apart,
        "single_seconds": {name: spread_of(seconds) for name, seconds in singles.items()},
        "expected": [(each.label, dict(each.probabilities)) for each in found],
    }
    write_json(answer, result)


def _single_seconds(predictor: Any, texts: Sequence[str]) -> list[float]:
    found = []
    for text in [*texts[:20], *texts[:300]]:
        started = time.perf_counter()
        predictor.predict([text])
        found.append(time.perf_counter() - started)
    return found[20:]


def single(bench: Bench) -> dict[str, Any]:
    """Return the times of one text at a time through the service."""
    with ours(bench.run, bench.texts[0]) as service:
        bench.warm(service.port)
        return figures(bench.load(service.port, seconds=bench.seconds, connections=1))


def sustained(bench: Bench) -> dict[str, Any]:
    """Return the rate of connections that are never idle, and its share of the rate offline."""
    with ours(bench.run, bench.texts[0]) as service:
        bench.warm(service.port)
        found = figures(bench.load(service.port, seconds=bench.seconds))
    best = max(bench.found["offline"][f"per_second_{how}"] for how in ("together", "apart"))
    return {**found, "connections": bench.connections, "share_of_offline": found["per_second"] / best}


def half(bench: Bench) -> dict[str, Any]:
    """Return the times at half the sustained rate, and how many times a single text's they are."""
    rate = bench.found["sustained"]["per_second"] / 2
    with ours(bench.run, bench.texts[0]) as service:
        bench.warm(service.port)
        found = figures(bench.load(service.port, seconds=2 * bench.seconds, rate=rate, connections=512))
    alone = bench.found["single"]["answer_seconds"]
    times = {f"p99_by_single_{name}": found["answer_seconds"]["p99"] / alone[name] for name in ("p50", "mean", "p99")}
    return {**found, "rate": rate, **times}


def overload(bench: Bench) -> dict[str, Any]:
    """Return what becomes of ten times the sustained rate, with the service's memory every few seconds."""
    rate = 10 * bench.found["sustained"]["per_second"]
    sizes: list[tuple[float, int]] = []
    with ours(bench.run, bench.texts[0]) as service:
        bench.warm(service.port)

        def look(seconds: float) -> None:
            sizes.append((seconds, memory(service.process.pid)[0]))

        asked = {"seconds": 60 * bench.minutes, "rate": rate, "connections": 4096, "health": True}
        seen = bench.load(service.port, watched=look, **asked)
        bench.load(service.port, seconds=min(10.0, bench.seconds), connections=1)  # it must still answer rightly
    late = [(at, size) for at, size in sizes if at >= min(60.0, seen.seconds / 4)]
    times, bytes_then = np.array(late, dtype=np.float64).T
    slope = 60 * float(np.polyfit(times, bytes_then, 1)[0]) if len(late) > 1 else None
    return {
        **figures(seen),
        "rate": rate,
        "share_refused": sum(seen.refused.values()) / seen.sent,
        "health_seconds": spread_of(seen.health),
        "health_failed": seen.health_failed,
        "rss_after_a_minute": late[0][1],
        "rss_end": sizes[-1][1],
        "rss_max": max(size for _, size in sizes),
        "rss_slope_per_minute": slope,
        "rss": sizes,
    }


def beside(bench: Bench) -> dict[str, Any]:
    """Return for each service the largest rate at which 99 of 100 answers come in time."""
    found: dict[str, Any] = {"target_seconds": bench.target}
    with ours(bench.run, bench.texts[0]) as service:
        found["tailtune"] = most_in_time(bench, service, protocol="tailtune")
    for style in ("def", "async"):
        with plain(bench.run, bench.texts[0], style) as service:
            found[f"plain_{style}"] = most_in_time(bench, service, protocol="plain")
    best = max(found["plain_def"]["rate"], found["plain_async"]["rate"])
    found["times"] = found["tailtune"]["rate"] / best if best else None
    about = read_json(bench.run / "metrics.json")
    return {**found, "depth": about["depth"], "blocks_total": about["blocks_total"], "precision": about["precision"]}


def most_in_time(bench: Bench, service: Running, *, protocol: str) -> dict[str, Any]:
    """Return the largest rate found, first in steps up from what a closed loop reaches, then by halves."""
    bench.warm(service.port, protocol=protocol, connections=8)
    closed = figures(bench.load(service.port, protocol=protocol, seconds=bench.seconds, connections=16))
    if not closed["answered"]:
        sys.exit(f"{protocol}: answers nothing: {closed['refused']}")
    low, high, rate, answered = 0.0, np.inf, 0.7 * closed["per_second"], 0.0
    trials: list[dict[str, Any]] = []
    while len(trials) < MOST_TRIALS and high / max(low, 1e-9) > NEAR:
        trial = tried(bench, service, protocol, rate)
        trials.append(trial)
        if trial["in_time"]:
            low, answered = rate, trial["per_second"]
        else:
            high = rate
        rate = 1.3 * low if high == np.inf else (low + high) / 2
        time.sleep(1.0)
    return {"rate": low, "answered_per_second": answered, "closed_per_second": closed["per_second"], "trials": trials}


def tried(bench: Bench, service: Running, protocol: str, rate: float) -> dict[str, Any]:
    """Return whether 99 of 100 answers come in time at one rate, none refused and none lost."""
    seen = bench.load(service.port, protocol=protocol, rate=rate, connections=512, seconds=bench.seconds)
    found = figures(seen)
    refused, p99 = sum(found["refused"].values()), found["answer_seconds"].get("p99", np.inf)
    in_time = p99 <= bench.target and not refused and not found["lost"] and not found["wrong"]
    print(f"  {protocol}: {rate:.1f}/s, p99 {p99:.2f} s, {'in time' if in_time else 'late'}", flush=True)
    return {"rate": rate, "p99": p99, "refused": refused, "in_time": in_time, "per_second": found["per_second"]}


def ended(bench: Bench, service: Running, number: signal.Signals) -> tuple[Seen, float, float]:
    """Return what a load saw that goes on while the service is sent a signal, when that was, and its seconds to go."""
    plan = Plan(
        port=service.port,
        texts=bench.texts,
        expected=bench.expected,
        seconds=600.0,
        connections=bench.connections,
        until_gone=True,
    )
    process, answer = bench.start_load(plan)
    time.sleep(min(10.0, bench.seconds))
    sent = time.monotonic()
    service.process.send_signal(number)
    service.process.wait(120)
    gone = time.monotonic() - sent
    process.wait(200)
    return Seen(**read_json(answer)), sent, gone


def stop(bench: Bench) -> dict[str, Any]:
    """Return what became of the requests inside when the service was told to stop, and of those that came later."""
    with ours(bench.run, bench.texts[0]) as service:
        seen, sent, gone = ended(bench, service, signal.SIGTERM)
    inside = [each for each in seen.events if each[0] <= sent - CERTAINLY_READ_SECONDS and each[1] > sent]
    later = [each for each in seen.events if each[0] > sent - CERTAINLY_READ_SECONDS]
    before = Counter(outcome for start, end, outcome in seen.events if end <= sent)
    return {
        "exit_code": service.process.returncode,
        "seconds_to_stop": gone,
        "before": before,
        "inside": Counter(outcome for _, _, outcome in inside),
        "later": Counter(outcome for _, _, outcome in later),
        "accepted_lost": sum(outcome != "answered" for _, _, outcome in inside),
        "wrong": seen.wrong,
    }


def kill(bench: Bench) -> dict[str, Any]:
    """Return the seconds to the first answer after starts, and on the same port after kills under load, in turns."""
    first, again, after = [], [], {}
    for _ in range(ROUNDS):
        port = free_port()
        with ours(bench.run, bench.texts[0], port) as service:
            first.append(service.seconds)
            ended(bench, service, signal.SIGKILL)
        with ours(bench.run, bench.texts[0], port) as service:
            again.append(service.seconds)
            after = figures(bench.load(service.port, seconds=min(10.0, bench.seconds)))
    return {"first_start_seconds": first, "again_seconds": again, "after": after}


MEASURE: Mapping[str, Callable[[Bench], dict[str, Any]]] = {
    "single": single,
    "sustained": sustained,
    "half": half,
    "overload": overload,
    "beside": beside,
    "stop": stop,
    "kill": kill,
}


def measured(run: Path, data: str, given: argparse.Namespace, found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield all that is found after each part."""
    from tailtune.parts import prepare
    from tailtune.resolving import resolve

    texts = [text for text in dict.fromkeys(prepare(resolve({"data": data}).config)[0].texts) if text.strip()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_json(folder / "texts.json", {"texts": texts})
        command = [
            sys.executable,
            __file__,
            str(run),
            "--offline",
            str(folder / "texts.json"),
            str(folder / "own.json"),
        ]
        subprocess.run(command, check=True, env=unlimited())
        answers = read_json(folder / "own.json")
        expected = answers.pop("expected")
        if "offline" in given.only:
            found["offline"] = answers
            yield found
        settings = {name: getattr(given, name) for name in ("seconds", "minutes", "connections", "target")}
        bench = Bench(run=run, folder=folder, texts=texts, expected=expected, found=found, **settings)
        for part in PARTS[1:]:
            if part in given.only:
                print(f"{part}:", flush=True)
                found[part] = {**MEASURE[part](bench), "measured_for_seconds": given.seconds}
                print(json.dumps({key: value for key, value in found[part].items() if key != "rss"}), flush=True)
                yield found


def main() -> None:
    """Run the parts asked for, keep them and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path, help="run folder; trained on the data where it is absent")
    parser.add_argument("--data", default="sms-spam")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seconds", type=float, default=30.0, help="of one measurement")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the overload")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--target", type=float, default=1.0, help="seconds for 99 of 100 answers")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--offline", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.offline:
        offline(given.run, read_json(given.offline[0])["texts"], given.offline[1])
        return
    found: dict[str, Any] = read_json(given.out) if given.out.exists() else {}
    if not given.table:
        if given.run is None:
            parser.error("a run folder is needed")
        if not given.run.exists():
            train = ["train", given.data, "--ship", "language-model", "--out", str(given.run)]
            subprocess.run([sys.executable, "-m", "tailtune.cli", *train], check=True)
        found["machine"] = describe(cores())
        for so_far in measured(given.run, given.data, given, found):
            write_json(given.out, so_far)
    print(table(found))


if __name__ == "__main__":
    main()
