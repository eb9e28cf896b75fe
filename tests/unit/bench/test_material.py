"""Every run is given the same rows, the chapter's; fewer are the first of each part, and test texts stand apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from support.texts import messages
from tailtune.bench.material import Material, load_material, pieces
from tailtune.parts import prepare
from tailtune.resolving import resolve


def texts_of(material: Material) -> tuple[list[str], list[str]]:
    return material.texts(material.parts.train), material.texts(material.parts.validation)


def test_the_rows_are_those_of_the_chapters_split(asked: dict[str, Any]) -> None:
    """In its order, with the labels of the file; data that are not the chapter's go through the same steps."""
    material = load_material(asked)
    dataset, split = prepare(resolve({"data": asked["data"], "model": asked["model"], "recipe": "chapter"}).config)
    parts = (split.train, split.validation, split.test)
    expected = [[dataset.texts[row] for row in part.tolist()] for part in parts]
    assert [*texts_of(material), list(material.test_texts)] == expected
    assert [len(part) for part in expected] == [84, 12, 24]
    label_of = dict(zip(*messages(120), strict=True))
    for texts, ids in ((material.seen.texts, material.ids), (material.test_texts, material.test_ids)):
        assert [material.labels.names[n] for n in ids.tolist()] == [label_of[text] for text in texts]
    assert (material.config.epochs, material.config.batch_size) == (5, 8)


def test_no_test_text_is_among_the_rows_that_are_seen(asked: dict[str, Any]) -> None:
    """What is trained on holds no row of the test part."""
    material = load_material(asked)
    assert not set(material.seen.texts) & set(material.test_texts)
    assert len(material.parts.test) == 0
    assert len(material.seen) == len(material.parts.train) + len(material.parts.validation)


@pytest.mark.parametrize(("rows", "sizes"), [(42, [42, 6, 12]), (21, [21, 3, 6]), (5, [5, 2, 2]), (900, [84, 12, 24])])
def test_fewer_rows_are_the_first_of_each_part(asked: dict[str, Any], rows: int, sizes: list[int]) -> None:
    """The other parts get their share and never less than two; more rows than there are, are all of them."""
    whole, few = load_material(asked), load_material({**asked, "rows": rows})
    kept, every = [[*texts_of(material), list(material.test_texts)] for material in (few, whole)]
    assert [len(part) for part in kept] == sizes
    assert all(part == all_of_it[: len(part)] for part, all_of_it in zip(kept, every, strict=True))
    assert few.sha256 == whole.sha256


def test_pieces_are_the_token_ids_of_each_text(asked: dict[str, Any]) -> None:
    """One array per text, as the tokenizer gives them one by one."""
    material = load_material(asked)
    tokenizer, texts = material.tokenizer(), list(material.test_texts)
    for text, ids in zip(texts, pieces(tokenizer.encode(texts)), strict=True):
        assert ids.dtype == np.int64
        assert ids.tolist() == tokenizer.encode([text]).ids.tolist()


def test_a_score_counts_the_first_test_texts(asked: dict[str, Any]) -> None:
    """An engine that answered some of them is judged by these; logits and probabilities score alike."""
    material = load_material(asked)
    right = np.eye(2)[material.test_ids]
    assert material.score(right) == {"correct": 24, "tests": 24, "accuracy": 1.0}
    assert material.score(8 * right[:10].astype(np.float32) - 3) == {"correct": 10, "tests": 10, "accuracy": 1.0}
    assert material.score(1 - right[:4])["accuracy"] == 0.0
