"""The load client of bench/service.py sees what a service does: right and wrong answers, refusals, what is gone."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.serving import Process, saved, serving
from tailtune.predict import Predictor

if TYPE_CHECKING:
    from service_load import Seen

TEXTS = ["claim your prize", "lunch at noon?", "is it the train, or the film?"]


@pytest.fixture(autouse=True)
def bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent / "bench"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    return saved(tiny_llama, tmp_path_factory.mktemp("bundle") / "spam")


def answers(bundle: Path) -> list[tuple[str, dict[str, float]]]:
    return [(each.label, dict(each.probabilities)) for each in Predictor.load(bundle).predict(TEXTS)]


def loaded(process: Process, expected: Sequence[Any], **plan: Any) -> Seen:
    from service_load import Load, Plan

    given = {"texts": TEXTS, "expected": expected, "seconds": 0.5, "connections": 4, **plan}

    async def run() -> Seen:
        return await Load(Plan(port=process.port, **given)).run()

    return asyncio.run(run())


def test_answers_are_compared(bundle: Path, tmp_path: Path) -> None:
    """All right in both kinds of loop; one that is expected otherwise is found, however little."""
    from service import figures

    right = answers(bundle)
    moved = [right[0], (right[1][0], {name: share + 2e-4 for name, share in right[1][1].items()}), right[2]]
    with serving(bundle, log=tmp_path / "log") as process:
        closed = loaded(process, right)
        opened = loaded(process, right, rate=100.0, health=True)
        wrong = loaded(process, moved)
    for seen in (closed, opened):
        assert seen.sent == seen.answered == len(seen.latencies) > 10
        assert (seen.wrong, seen.lost, seen.refused) == (0, 0, {})
    assert opened.health and not opened.health_failed
    assert 0 < wrong.wrong < wrong.answered
    found = figures(closed)
    assert found["per_second"] == closed.answered / closed.seconds
    assert found["answer_seconds"]["p50"] <= found["answer_seconds"]["p99"] <= found["answer_seconds"]["max"]


def test_refusals_are_counted(bundle: Path, tmp_path: Path) -> None:
    """Where one may be inside, others are told when to come back; each request is counted once."""
    with serving(bundle, "--requests", "1", log=tmp_path / "log") as process:
        seen = loaded(process, answers(bundle), connections=16)
    assert seen.refused.keys() == {"429"}
    assert seen.refused["429"] == len(seen.refusals) > 0
    assert seen.sent == seen.answered + seen.refused["429"]
    assert (seen.without_retry_after, seen.wrong, seen.lost) == (0, 0, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_sees_a_service_go(bundle: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Told to stop, what was inside is answered; killed, it is lost; either way the load ends by itself."""

    async def both(process: Process) -> Seen:
        from service_load import Load, Plan

        plan = Plan(port=process.port, texts=TEXTS * 50, seconds=60.0, connections=8, until_gone=True)
        load = asyncio.create_task(Load(plan).run())
        await asyncio.sleep(0.5)
        process.process.send_signal(number)
        return await load

    with serving(bundle, log=tmp_path / "log") as process:
        seen = asyncio.run(both(process))
    assert seen.answered > 10
    assert len(seen.events) == seen.sent == seen.answered + seen.lost + seen.unaccepted
    if number is signal.SIGTERM:
        assert seen.lost == 0


def test_the_table_says_what_is_not_met() -> None:
    """Targets that are missed are in bold; parts that were not measured are left out."""
    from service_table import table

    assert table({}) == ""
    offline = {"texts": 10, "tokens": 250, "threads": 2, "per_second_apart": 100.0, "per_second_together": 80.0}
    times = {"count": 3, "mean": 0.01, "p50": 0.01, "p99": 0.02, "max": 0.03}
    part: dict[str, object] = {
        "share_of_offline": 0.7,
        "wrong": 1,
        "lost": 0,
        "answered": 50,
        "sent": 50,
        "seconds": 1.0,
    }
    part |= {"refused": {}, "per_second": 70.0, "answer_seconds": times, "connections": 64}
    shown = table({"offline": {**offline, "single_seconds": {"2": times}}, "sustained": part})
    assert "| sustained rate against the offline one | at least 0.8 | 0.70 | **no** |" in shown
    assert "| wrong answers of 50 | 0 | 1 | **no** |" in shown
    assert "| lost requests | 0 | 0 | yes |" in shown
    assert "| 64 connections | 50.0 | 70.0 |  | 10.0 | 20.0 | 30.0 |" in shown
