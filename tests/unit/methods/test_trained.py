"""Parts of a decoder are trained, the rest is not touched, and what comes out is an ordinary tail."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from support.generic_models import write_generic
from support.parts import LENGTHS, ROWS, SETTINGS, TOKENS, features_of, tensor_bytes, train
from support.tiny_models import write_tiny_bert, write_tiny_gpt2, write_tiny_llama
from tailtune.errors import ConfigError, SetupError, TrainingDiverged
from tailtune.features.backbone import Wanted
from tailtune.features.passes import Passes
from tailtune.methods.lora import LoraSettings, add_lora, merged, products_of
from tailtune.methods.scorers import Kind, Pooling, TailScorer, score_features
from tailtune.methods.tail import new_tail
from tailtune.methods.trained import merged_alike, require_trainable, train_part
from tailtune.models.decoder import Block, Decoder
from tailtune.models.joined import Joined
from tailtune.models.parts import load_part
from tailtune.text.packing import pack

EVERY = np.arange(len(LENGTHS))
WRITERS: dict[str, Callable[..., Path]] = {"llama": write_tiny_llama, "gpt2": write_tiny_gpt2, "bert": write_tiny_bert}
SHORT = replace(SETTINGS, epochs=2)


@pytest.fixture(params=WRITERS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return WRITERS[request.param](tmp_path / request.param, seed=0)


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_the_pretrained_model_is_not_touched(model: Path, kind: Kind, first: int, tmp_path: Path) -> None:
    """Its bytes are the same before and after; what is trained are copies, and these did move."""
    decoder = load_part(model)
    before = tensor_bytes(decoder)
    features = features_of(decoder, tmp_path, first)
    pooling: Pooling = "last" if decoder.config.causal else "first"
    trained = train_part(kind, decoder, features, ROWS, first=first, depth=4, pooling=pooling, settings=SHORT)
    assert tensor_bytes(decoder) == before
    moved = {name for name, data in tensor_bytes(trained.scorer.decoder).items() if data != before[name]}
    inside = {f"blocks.{n}.{product}.weight" for n in range(first, 4) for product in ("query_key_value", "mlp_in")}
    assert inside <= moved
    norms = {name for name in moved if "norm" in name or "after" in name}
    assert bool(norms) == (kind == "full"), "of LoRA norms stay frozen, as in peft"


@pytest.mark.parametrize("first", [0, 1, 3])
def test_what_was_trained_is_counted(tiny_llama: Path, first: int, tmp_path: Path) -> None:
    """Rank times inputs and outputs of every product and the head; all weights of the blocks, norm and head."""
    blocks, head = 4 - first, 3 * 32
    trained, _, _ = train("lora", tiny_llama, tmp_path, first=first, lora=LoraSettings(rank=2), settings=SHORT)
    ends = (32 + 32) + 2 * (32 + 16) + (32 + 32) + 3 * (32 + 64)  # query, key and value, output; gate, up, down
    assert trained.trained == blocks * 2 * ends + head
    inner = 32 * (32 + 2 * 16) + 32 * 32 + 3 * 32 * 64 + 2 * 32
    assert trained.weights == 400 * 32 + 4 * inner + 32 + head
    full, _, _ = train("full", tiny_llama, tmp_path, first=first, settings=SHORT)
    assert full.trained == blocks * inner + 32 + head + (0 if first else 400 * 32)
    assert full.weights == trained.weights
    assert f"{full.trained:,} of {full.weights:,} weights" in full.said
    assert f"LoRA of rank 2 on blocks {first + 1} to 4" in trained.said


def test_full_from_a_depth_is_a_tail_of_as_many_blocks(model: Path, tmp_path: Path) -> None:
    """The same losses and the same scores to the bit."""
    full, features, one = train("full", model, tmp_path, first=2)
    tail, _, other = train("tail", model, tmp_path, first=2)
    assert one == other
    scores = [score_features(each.scorer, features, EVERY) for each in (full, tail)]
    np.testing.assert_array_equal(scores[0], scores[1])


def test_nothing_of_depth_0_is_stored(model: Path, tmp_path: Path) -> None:
    """Embeddings are looked up: the store stays empty, and they are what a pass would have stored."""
    decoder = load_part(model)
    features = features_of(decoder, tmp_path / "store", 0)
    assert not list((tmp_path / "store").rglob("*.npy"))
    texts = np.array([5, 3, 40, 3])
    backbone = Passes(decoder, weights="x", store=tmp_path, device="cpu").backbone("fp32")
    (pieces,) = backbone.run(TOKENS.take(texts[:1]), Wanted(states=(0,)))
    got = features.states(0, texts)
    assert got.shape == (LENGTHS[texts].sum(), 32)
    np.testing.assert_allclose(got[: LENGTHS[5]], pieces.states[0], atol=1e-6)
    np.testing.assert_array_equal(features.ids(texts)[: LENGTHS[5]], TOKENS.take(texts[:1]).ids)
    _, _, losses = train("lora", model, tmp_path / "store", first=0, settings=SHORT)
    assert len(losses) == 8
    assert not list((tmp_path / "store").rglob("*.npy"))


def test_trained_embeddings_stand_below_the_scorer(model: Path, tmp_path: Path) -> None:
    """The scorer holds none; the backbone handed over holds those of all tables, moved; scores need them."""
    decoder = load_part(model)
    assert isinstance(decoder, Decoder)
    trained, features, _ = train("full", model, tmp_path, first=0)
    below = trained.backbone
    assert isinstance(below, Decoder) and not below.blocks and below.final_norm is None
    assert not trained.scorer.decoder.has_embeddings
    moved = {name for name, tensor in below.state_dict().items() if not torch.equal(tensor, decoder.state_dict()[name])}
    assert moved == set(below.state_dict())
    own = score_features(trained.scorer, trained.features(features), EVERY)
    pretrained = score_features(trained.scorer, features, EVERY)
    assert np.abs(own - pretrained).max() > 1e-3
    others, same, _ = train("full", model, tmp_path, first=2, settings=SHORT)
    assert others.backbone is None and others.features(same) is same


def adapted(model: Path, targets: str, pooling: Pooling | None = None, *, dropout: float = 0.0) -> TailScorer:
    """Return a tail of one block whose adapters do something."""
    tail = new_tail(load_part(model), blocks=1, depth=4, classes=3, seed=0, pooling=pooling)
    add_lora(tail, LoraSettings(targets=targets, rank=2, dropout=dropout), seed=0)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in tail.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.3, generator=random)
    return tail.eval()


@pytest.mark.parametrize("targets", ["query_key_value", "attention_output", "mlp_in", "mlp_out", "all"])
def test_the_row_that_is_read_goes_through_the_adapter(model: Path, targets: str, tmp_path: Path) -> None:
    """It equals that of all rows, with adapters on any product, and differs from the one without them."""
    tail, plain = adapted(model, targets), new_tail(load_part(model), blocks=1, depth=4, classes=3, seed=0)
    features = features_of(load_part(model), tmp_path, 3)
    batch = pack(EVERY, LENGTHS)
    layout = tail.decoder.layout(batch, torch.device("cpu"))
    states = tail.inputs(features, batch.texts)
    block, other = (each.decoder.get_submodule("blocks.3") for each in (tail, plain))
    assert isinstance(block, Block) and isinstance(other, Block)
    read, every, without = (
        block.read_row(states, layout),
        block(states, layout)[layout.read],
        other.read_row(states, layout),
    )
    assert isinstance(block.query_key_value, Joined) == (
        targets in ("query_key_value", "all") and "gpt2" not in str(model)
    )
    torch.testing.assert_close(read, every, atol=1e-5, rtol=1e-5)
    assert (read - without).abs().max() > 1e-2


@pytest.mark.parametrize("pooling", ["own", "mean", "own+mean"])
def test_merged_updates_score_alike(model: Path, pooling: str, tmp_path: Path) -> None:
    """The plain tail has the shapes of any other, and the scores of the adapters."""
    own = "first" if "bert" in str(model) else "last"
    asked: Pooling = pooling.replace("own", own)  # type: ignore[assignment]
    tail = adapted(model, "all", asked)
    features = features_of(load_part(model), tmp_path, 3)
    expected = score_features(tail, features, EVERY)
    plain = merged(tail)
    usual = new_tail(load_part(model), blocks=1, depth=4, classes=3, seed=0, pooling=asked)
    assert {name: t.shape for name, t in plain.state_dict().items()} == {
        name: t.shape for name, t in usual.state_dict().items()
    }
    np.testing.assert_allclose(score_features(plain, features, EVERY), expected, atol=1e-4)
    assert np.abs(score_features(usual, features, EVERY) - expected).max() > 1e-2


@pytest.mark.parametrize("pooling", ["mean", "last+mean"])
def test_a_pooled_tail_reads_the_normed_states(tiny_llama: Path, pooling: Pooling, tmp_path: Path) -> None:
    """Mean of the top block's states after the final norm, beside that of the last token; both have a gradient."""
    tail = new_tail(load_part(tiny_llama), blocks=2, depth=4, classes=3, seed=0, pooling=pooling)
    features = features_of(load_part(tiny_llama), tmp_path, 2)
    got = score_features(tail, features, EVERY)
    layout_of = tail.decoder.layout
    for text in (0, 7, 31):
        batch = pack(np.array([text]), LENGTHS[[text]])
        layout, states = layout_of(batch, torch.device("cpu")), tail.inputs(features, batch.texts)
        with torch.no_grad():
            for _, above in tail.decoder.climb(states, layout):
                states = above
            norm = tail.decoder.final_norm
            assert isinstance(norm, torch.nn.RMSNorm)
            normed = norm(states)
            vector = normed.mean(dim=0) if pooling == "mean" else torch.cat((normed[-1], normed.mean(dim=0)))
            expected = tail.head.weight @ vector
        np.testing.assert_allclose(got[text], expected.numpy(), atol=1e-5)


def test_other_scores_after_merging_are_an_error(tiny_llama: Path, tmp_path: Path) -> None:
    """The run fails in one line: here dropout, left on, makes the adapters score otherwise than the weights."""
    tail = adapted(tiny_llama, "all", dropout=0.5)
    features = features_of(load_part(tiny_llama), tmp_path, 3)
    with pytest.raises(TrainingDiverged, match=r"other class scores, off by [0-9.e-]+ on 48 texts") as caught:
        merged_alike(tail.train(), features, EVERY)
    assert "--lora-alpha" in str(caught.value)
    merged_alike(adapted(tiny_llama, "all", dropout=0.5), features, EVERY)


@pytest.mark.parametrize(
    ("family", "targets", "expected"),
    [
        ("llama", "query, value", ("query_key_value.query", "query_key_value.value")),
        ("llama", "mlp_in", ("mlp_in.gate", "mlp_in.up")),
        ("gpt2", "query_key_value,mlp_out", ("query_key_value", "mlp_out")),
        ("gpt2", "all", ("attention_output", "mlp_out", "query_key_value", "mlp_in")),
        ("bert", "key,mlp_in", ("query_key_value.key", "mlp_in")),
    ],
)
def test_targets_are_products_of_the_family(
    family: str, targets: str, expected: tuple[str, ...], tmp_path: Path
) -> None:
    """Parts where the reference library has parts, whole products where it fuses them."""
    shape = load_part(WRITERS[family](tmp_path, seed=0)).config
    assert products_of(shape, targets) == expected


@pytest.mark.parametrize(("family", "targets", "named"), [("gpt2", "query", "GPT-2"), ("llama", "q_proj", "Llama")])
def test_unknown_targets_are_refused(family: str, targets: str, named: str, tmp_path: Path) -> None:
    """The line names the family, the product and those there are."""
    shape = load_part(WRITERS[family](tmp_path, seed=0)).config
    with pytest.raises(ConfigError, match=f"{named}.* has no product '{targets}'.*its products: all, "):
        products_of(shape, targets)


def test_models_without_a_family_are_told_what_they_can(tmp_path: Path) -> None:
    """LoRA and training of the embeddings are refused; the blocks above some depth are trained."""
    model = write_generic("falcon", tmp_path / "falcon")
    shape, lora = load_part(model).config, LoraSettings()
    with pytest.raises(ConfigError, match="native families"):
        require_trainable("lora", shape, first=1, lora=lora)
    with pytest.raises(ConfigError, match=r"embeddings of .* are not trained.*--from-depth 1"):
        require_trainable("full", shape, first=0, lora=lora)
    require_trainable("full", shape, first=1, lora=lora)
    trained, _, losses = train("full", model, tmp_path / "store", first=1, depth=shape.blocks, settings=SHORT)
    assert trained.backbone is None and len(losses) == 8


def test_without_peft_lora_is_refused(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is computed, with what to install."""
    monkeypatch.setitem(sys.modules, "peft", None)
    shape = load_part(tiny_llama).config
    with pytest.raises(SetupError, match=r"pip install 'tailtune\[lora\]'"):
        require_trainable("lora", shape, first=0, lora=LoraSettings())
    require_trainable("full", shape, first=0, lora=LoraSettings())
