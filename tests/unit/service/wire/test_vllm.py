"""vLLM: its request and answer, and what this classifier cannot change."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from support.classifiers import probe_bundle, reading
from support.serving import Talk, saved, service_of, talking
from tailtune.text.windows import LongRule

LONG = "a message of many words " * 8


@pytest.fixture(scope="module")
def talk(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    """Reads 16 tokens of a text, its beginning."""
    folder = tmp_path_factory.mktemp("vllm") / "spam-filter"
    with talking(service_of(saved(tiny_llama, folder, lambda model: reading(probe_bundle(model), LongRule())))) as talk:
        yield talk


def test_answer(talk: Talk) -> None:
    """Everything its clients read, and nothing else."""
    (answer,) = talk.posted("/classify", {"model": "spam-filter", "input": ["ok", "lunch"], "new": 1})
    found = answer.json()
    assert re.fullmatch(r"classify-[0-9a-f]{32}", found.pop("id"))
    assert abs(found.pop("created") - time.time()) < 60
    data, usage = found.pop("data"), found.pop("usage")
    assert found == {"object": "list", "model": "spam-filter"}
    assert [each["index"] for each in data] == [0, 1]
    assert data[0].keys() == {"index", "label", "probs", "num_classes"}
    assert data[0]["label"] == ("ham", "other", "spam")[int(np.argmax(data[0]["probs"]))]
    assert data[0]["num_classes"] == len(data[0]["probs"]) == 3
    assert usage == {
        "prompt_tokens": usage["total_tokens"],
        "total_tokens": usage["total_tokens"],
        "completion_tokens": 0,
        "prompt_tokens_details": None,
    }
    assert usage["total_tokens"] >= 2


@pytest.mark.parametrize(
    "how",
    [
        {"user": "me", "cache_salt": "salt", "priority": 0, "add_special_tokens": True, "padding": "do_not_pad"},
        {"truncate_prompt_tokens": -1, "input": LONG},
        {"truncate_prompt_tokens": 16, "input": LONG},
        {"truncate_prompt_tokens": 500, "truncation_side": "right", "input": LONG},
        {"truncate_prompt_tokens": 8, "truncation_side": "left"},
        {"use_activation": True, "softmax": True},
    ],
)
def test_what_changes_nothing_is_taken(talk: Talk, how: dict[str, object]) -> None:
    """Settings that this classifier follows anyway."""
    (answer,) = talk.posted("/classify", {"input": "ok", **how})
    assert answer.status_code == 200, answer.text


def test_raw_scores_and_id(talk: Talk) -> None:
    """A softmax of what comes without activation gives the probabilities."""
    plain, raw = talk.posted("/classify", {"input": "ok"}, {"input": "ok", "use_activation": False, "request_id": "r1"})
    assert raw.json()["id"] == "classify-r1"
    assert np.exp(raw.json()["data"][0]["probs"]) == pytest.approx(plain.json()["data"][0]["probs"])


@pytest.mark.parametrize(
    ("how", "status", "param", "said"),
    [
        ({"input": []}, 400, "input", "at least one"),
        ({"input": [1, 2]}, 400, "input", "token ids are not read"),
        ({"input": [[1, 2]]}, 400, "input", "token ids are not read"),
        ({"input": None}, 400, "input", "expected a text or a list of texts"),
        ({"messages": [{"role": "user", "content": "ok"}]}, 400, None, "has no chat template"),
        ({"input": LONG}, 400, "truncate_prompt_tokens", "with truncate_prompt_tokens -1 it is cut"),
        ({"input": LONG, "truncate_prompt_tokens": 8}, 400, "truncate_prompt_tokens", "reads more"),
        (
            {"input": LONG, "truncate_prompt_tokens": -1, "truncation_side": "left"},
            400,
            "truncation_side",
            "cut on the right",
        ),
        ({"input": "ok", "padding": "max_length"}, 400, "padding", "do_not_pad"),
        ({"input": "ok", "priority": 1}, 400, "priority", "less than or equal to 0"),
        ({"input": "ok", "add_special_tokens": False}, 400, "add_special_tokens", "expected true"),
        ({"input": "ok", "softmax": False}, 400, None, "send use_activation"),
        ({"input": "ok", "model": "other"}, 404, "model", "there is 'spam-filter'"),
        ({"input": ["ok"] * 300}, 413, None, "300 texts: at most 256"),
    ],
)
def test_refusals(talk: Talk, how: dict[str, object], status: int, param: str | None, said: str) -> None:
    """In the shape of OpenAI's interface, with the status once more in it."""
    (answer,) = talk.posted("/classify", how)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (status, param)
    assert said in error["message"]
    assert error["type"] == ("NotFoundError" if status == 404 else "BadRequestError")
