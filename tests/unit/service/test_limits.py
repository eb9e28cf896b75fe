"""Limits follow the device that computes, unless they are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.serving import saved, service_of
from tailtune.machine import cores
from tailtune.service.classify import Service
from tailtune.service.limits import Limits


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_devices_that_need_many_tokens_at_once_get_them(device: str) -> None:
    """What is given counts, wherever it computes; the rest are the device's own."""
    assert Limits.of("cpu") == Limits()
    found = Limits.of(device, batch_tokens=None, waiting_tokens=300_000, texts=5)
    assert (found.batch_tokens, found.waiting_tokens, found.texts) == (16_384, 300_000, 5)
    assert found.waiting_tokens > Limits.of(device).waiting_tokens > Limits.of(device).batch_tokens
    assert found.body_bytes == Limits().body_bytes


def test_the_processor_computes_a_batch_per_core(tiny_llama: Path, tmp_path: Path) -> None:
    """Unless told otherwise."""
    models = service_of(saved(tiny_llama, tmp_path / "spam")).models
    assert Service(models).batcher.workers == cores()
    assert Service(models, workers=3).batcher.workers == 3
