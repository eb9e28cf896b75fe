"""What a row reads, against plain computations: the last position, the first, the mean; with and without the mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from support.experiments import write_collection
from support.texts import random_tokens
from tailtune.experiments.reading import first_tokens, pad_token, read_texts
from tailtune.experiments.scorer import (
    Place,
    RowScorer,
    new_scorer,
    trained_weights,
    usual_start,
    with_updates,
    without_mask,
)
from tailtune.experiments.settings import Setting
from tailtune.experiments.splits import Texts, load_texts
from tailtune.features.backbone import Backbone, Piece, Wanted
from tailtune.models.decoder import Decoder
from tailtune.models.weights import load_decoder
from tailtune.text.packing import batches
from tailtune.text.tokenizer import Tokens

CPU = torch.device("cpu")


def text_of(ids: list[int]) -> Tokens:
    return Tokens(ids=np.array(ids, np.int32), offsets=np.array([0, len(ids)]), full_lengths=np.array([len(ids)]))


def scores(decoder: Decoder, scorer: RowScorer, tokens: Tokens) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Class scores of all texts, in order."""
    backbone = Backbone(decoder, device=CPU)
    found = np.empty((len(tokens), 2), dtype=np.float32)
    for piece in backbone.run(tokens, Wanted(states=(scorer.cut,))):
        found[piece.batch.texts] = scorer.logits(piece)
    return found


def plain(decoder: Decoder, scorer: RowScorer, tokens: Tokens) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The same, position by position: every block, the norm and the head for all tokens of one text at a time."""
    backbone = Backbone(decoder, device=CPU)
    found = []
    for text in range(len(tokens)):
        (piece,) = backbone.run(tokens.take(np.array([text])), Wanted(states=(len(decoder.blocks),)))
        states = torch.from_numpy(piece.states[len(decoder.blocks)])
        assert decoder.final_norm is not None
        with torch.no_grad():
            each = scorer.head(decoder.final_norm(states))
        found.append({"last": each[-1], "first": each[0], "mean": each.mean(dim=0)}[scorer.place].numpy())
    return np.stack(found)


@pytest.mark.parametrize("blocks", [0, 1, 2])
@pytest.mark.parametrize(
    ("place", "masked"), [("last", True), ("mean", True), ("last", False), ("first", False), ("mean", False)]
)
def test_scores_are_those_of_plain_computation(tiny_gpt2: Path, place: Place, blocks: int, masked: bool) -> None:
    """Above any cut; without the mask the first position has seen the text as the last has."""
    decoder = load_decoder(tiny_gpt2)
    decoder = decoder if masked else without_mask(decoder)
    scorer = new_scorer(decoder, blocks=blocks, place=place, classes=2, seed=0)
    tokens = random_tokens([3, 7, 7, 12, 1])
    np.testing.assert_allclose(scores(decoder, scorer, tokens), plain(decoder, scorer, tokens), rtol=1e-4, atol=1e-5)


def test_first_position_under_the_mask_is_that_of_the_first_token(tiny_gpt2: Path) -> None:
    """So the rest of a text need not be computed for it."""
    decoder = load_decoder(tiny_gpt2)
    scorer = new_scorer(decoder, blocks=1, place="first", classes=2, seed=0)
    tokens = random_tokens([3, 7, 12])
    np.testing.assert_allclose(
        scores(decoder, scorer, first_tokens(tokens)), plain(decoder, scorer, tokens), rtol=1e-4, atol=1e-5
    )


def test_without_the_mask_the_last_token_reaches_the_first(tiny_llama: Path) -> None:
    """Under the mask another last token leaves the states before it as they were, bit for bit; without it none."""
    decoder = load_decoder(tiny_llama)
    one, other = text_of([5, 6, 7, 8]), text_of([5, 6, 7, 9])

    def states(of: Decoder, tokens: Tokens) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        (piece,) = Backbone(of, device=CPU).run(tokens, Wanted(states=(4,)))
        return piece.states[4]

    assert np.array_equal(states(decoder, one)[:3], states(decoder, other)[:3])
    unmasked = without_mask(decoder)
    different = np.abs(states(unmasked, one)[:3] - states(unmasked, other)[:3]).max(axis=1)
    assert (different > 1e-4).all()
    assert decoder.config.causal
    assert not unmasked.config.causal


def test_a_head_alone_leaves_the_norm_as_it_was(tiny_gpt2: Path) -> None:
    """Without blocks only weight and bias of the head are trained: 32 times 2, and 2."""
    scorer = new_scorer(load_decoder(tiny_gpt2), blocks=0, place="last", classes=2, seed=0)
    assert [name for name, tensor in scorer.named_parameters() if tensor.requires_grad] == ["head.weight", "head.bias"]
    assert trained_weights(scorer) == 66


def test_seeds_draw_heads(tiny_gpt2: Path) -> None:
    """One seed, one head."""
    decoder = load_decoder(tiny_gpt2)
    heads = [new_scorer(decoder, blocks=1, place="last", classes=2, seed=seed).head.weight for seed in (0, 0, 1)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Texts:
    return load_texts(str(write_collection(tmp_path_factory.mktemp("data") / "sms")), "bonus")


def test_padded_rows_read_pads(tiny_gpt2: Path, texts: Texts) -> None:
    """Every text is as long as the longest to learn from, and what stands behind it is the end-of-text token."""
    plain_read = read_texts(texts, tiny_gpt2, Setting(pads=False), context=256, causal=True)
    padded = read_texts(texts, tiny_gpt2, Setting(), context=256, causal=True)
    longest = int(plain_read.tokens.lengths[texts.split.train].max())
    assert padded.limit == longest
    assert set(padded.tokens.lengths.tolist()) == {longest}
    assert padded.pad == pad_token(tiny_gpt2) == 0
    last = padded.tokens.ids[padded.tokens.offsets[1:] - 1]
    assert ((last == 0) == (plain_read.tokens.lengths < longest)).all()
    assert padded.real == plain_read.total < padded.total


def test_limits(tiny_gpt2: Path, texts: Texts) -> None:
    """1,024 tokens, or the model's context where that is less; without pads a text is as long as it is."""
    wide = read_texts(texts, tiny_gpt2, Setting(limit=1024), context=256, causal=True)
    assert set(wide.tokens.lengths.tolist()) == {256}
    free = read_texts(texts, tiny_gpt2, Setting(limit=None, pads=False), context=256, causal=True)
    assert free.total == free.real < wide.total
    short = read_texts(texts, tiny_gpt2, Setting(limit=5), context=256, causal=True)
    assert set(short.tokens.lengths.tolist()) == {5}


def test_first_position_reads_one_token(tiny_gpt2: Path, texts: Texts) -> None:
    """Of a decoder; an encoder's first position sees all of the text."""
    setting = Setting(position="first")
    one = read_texts(texts, tiny_gpt2, setting, context=256, causal=True)
    assert set(one.tokens.lengths.tolist()) == {1}
    assert read_texts(texts, tiny_gpt2, setting, context=256, causal=False).tokens.lengths.min() > 1


def test_pieces_of_pads_change_the_last_position(tiny_gpt2: Path) -> None:
    """The state at a pad depends on how many there are: what made the book's classifier fall from 91 to 51 %."""
    decoder = load_decoder(tiny_gpt2)
    scorer = new_scorer(decoder, blocks=1, place="last", classes=2, seed=0)
    found = [scores(decoder, scorer, text_of([5, 6, 7] + [0] * pads)) for pads in (1, 4)]
    assert np.abs(found[0] - found[1]).max() > 1e-4


def test_mean_over_pads_is_not_the_mean_over_the_text(tiny_gpt2: Path) -> None:
    """Rows 19 and 19b read the same text differently."""
    decoder = load_decoder(tiny_gpt2)
    scorer = new_scorer(decoder, blocks=1, place="mean", classes=2, seed=0)
    found = [scores(decoder, scorer, text_of([5, 6, 7] + [0] * pads)) for pads in (0, 4)]
    assert np.abs(found[0] - found[1]).max() > 1e-4


def test_batches_do_not_change_scores(tiny_llama: Path) -> None:
    """Each text alone, or all in one packed batch."""
    decoder = without_mask(load_decoder(tiny_llama))
    scorer = new_scorer(decoder, blocks=2, place="last", classes=2, seed=0)
    tokens = random_tokens([4, 9, 9, 2])
    (batch,) = batches(tokens.lengths, token_budget=100)
    packed = np.empty((4, 2), dtype=np.float32)
    (piece,) = Backbone(decoder, device=CPU).run(tokens, Wanted(states=(2,)), token_budget=100)
    assert isinstance(piece, Piece)
    packed[batch.texts] = scorer.logits(piece)
    alone = np.concatenate([scores(decoder, scorer, tokens.take(np.array([text]))) for text in range(4)])
    np.testing.assert_allclose(packed, alone, rtol=1e-4, atol=1e-5)


def test_updates_of_low_rank_start_at_nothing(tiny_gpt2: Path) -> None:
    """The first scores are those without them; they and the head alone are trained."""
    decoder = load_decoder(tiny_gpt2)
    scorer = new_scorer(decoder, blocks=4, place="last", classes=2, seed=0)
    tokens = random_tokens([3, 7])
    before = scores(decoder, scorer, tokens)
    with_updates(scorer, rank=2, scale=16.0, seed=0)
    np.testing.assert_allclose(scores(decoder, scorer, tokens), before, rtol=1e-5, atol=1e-6)
    trained = {name for name, tensor in scorer.named_parameters() if tensor.requires_grad}
    assert {name for name in trained if "lora" not in name} == {"head.weight", "head.bias"}
    # Four products of a block: in + out of each, times the rank.
    assert trained_weights(scorer) == 4 * 2 * ((32 + 96) + (32 + 32) + (32 + 128) + (128 + 32)) + 66


@pytest.mark.parametrize(("scale", "times"), [(16.0, 16), (1.0, 1)])
def test_the_books_updates_are_not_divided_by_the_rank(tiny_gpt2: Path, scale: float, times: int) -> None:
    """Alpha 16 at rank 16 multiplies by 16 in the book's rows, by 1 in the row beside them."""
    scorer = new_scorer(load_decoder(tiny_gpt2), blocks=1, place="last", classes=2, seed=0)
    layer = with_updates(scorer, rank=16, scale=scale, seed=0).decoder.get_submodule("blocks.3.mlp_out")
    assert layer.scaling == {"default": times}


def test_weights_start_as_pytorch_starts_them(tiny_llama: Path) -> None:
    """Embeddings normal with deviation 1, products uniform in ±1/sqrt(inputs), norms ones; a seed each, none global."""
    shape = load_decoder(tiny_llama).config
    before = torch.get_rng_state()
    one, again, other = (usual_start(shape, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["embedding.weight"], other["embedding.weight"])
    assert one["embedding.weight"].std().item() == pytest.approx(1.0, abs=0.05)
    product = one["blocks.0.mlp_out.weight"]
    assert product.abs().max().item() == pytest.approx(1 / product.shape[1] ** 0.5, rel=0.02)
    assert bool((one["final_norm.weight"] == 1).all())


def test_all_weights_read_ids(tiny_gpt2: Path) -> None:
    """Where embeddings are trained too, the scorer starts from token ids and gives the same scores."""
    decoder = load_decoder(tiny_gpt2)
    above, whole = (
        new_scorer(decoder, blocks=4, place="last", classes=2, seed=0, embeddings=embeddings)
        for embeddings in (False, True)
    )
    tokens = random_tokens([3, 7, 7])
    expected = scores(decoder, above, tokens)
    (batch,) = batches(tokens.lengths, token_budget=100)
    found = np.empty((3, 2), dtype=np.float32)
    found[batch.texts] = whole.logits(Piece(batch=batch, pooled={}, states={}, ids=tokens.take(batch.texts).ids))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    tables = decoder.config.vocabulary * 32 + 256 * 32
    assert trained_weights(whole) == trained_weights(above) + tables
