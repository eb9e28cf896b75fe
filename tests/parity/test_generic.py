"""Models that run through the reference library's modules equal its own whole model, wherever they are cut."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from support.features import first_token_task, rows_of
from support.generic_models import ARCHITECTURES, ENCODERS, reference_model
from support.reference import ragged, relative_error
from support.texts import random_tokens
from tailtune.features.backbone import Backbone, Wanted
from tailtune.features.store import FeatureStore
from tailtune.methods.descent import Step, TailSettings, fit_tail
from tailtune.methods.probe import choose_probe
from tailtune.methods.scorers import score_features
from tailtune.methods.tail import new_tail
from tailtune.models.generic.decoder import GenericDecoder
from tailtune.models.generic.loading import load_generic, reference_names
from tailtune.models.weights import load_decoder
from tailtune.text.packing import Batch, pack

LENGTHS = [5, 1, 9, 5, 2, 17]
TOLERANCE = 1e-5
CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, GenericDecoder]:
    folder = tmp_path_factory.mktemp("model")
    return request.param, reference_model(request.param, folder), load_generic(folder)


def _texts(model: Any) -> tuple[Batch, list[Tensor]]:
    """A batch of ragged texts without pads, and their ids in its order."""
    pad = model.config.pad_token_id
    texts = [ids if pad is None else np.where(ids == pad, 50, ids) for ids in ragged(LENGTHS)]
    batch = pack(np.arange(len(texts)), np.array(LENGTHS))
    return batch, [torch.from_numpy(texts[i]) for i in batch.texts]


@contextlib.contextmanager
def _cut_off(model: Any, decoder: GenericDecoder, cut: int) -> Iterator[None]:
    """Let no gradient through below block ``cut`` of the reference model."""
    calls = 0

    def detach(_: nn.Module, arguments: Any, keywords: Any) -> tuple[Any, Any]:
        nonlocal calls
        calls += 1
        if (calls - 1) % decoder.config.blocks != cut:
            return arguments, keywords
        if arguments:
            return (arguments[0].detach(), *arguments[1:]), keywords
        return arguments, {**keywords, "hidden_states": keywords["hidden_states"].detach()}

    layers = model.get_submodule(decoder.config.structure.layers)
    hooks = [layer.register_forward_pre_hook(detach, with_kwargs=True) for layer in layers]
    yield
    for hook in hooks:
        hook.remove()


def _whole_states(model: Any, texts: list[Tensor]) -> list[Tensor]:
    """[T, D] at depths 0 to L, the last one normed, each text run alone."""
    with torch.no_grad():
        runs = [model(input_ids=ids[None], output_hidden_states=True) for ids in texts]
    by_text = [[*run.hidden_states[:-1], run.last_hidden_state] for run in runs]
    return [torch.cat([state[0] for state in depth]) for depth in zip(*by_text, strict=True)]


def test_states_at_every_depth_equal_the_reference(pair: tuple[str, Any, GenericDecoder]) -> None:
    """Packed states after 0..L blocks, the final norm and the rows that are read equal a text-by-text reference run."""
    name, model, decoder = pair
    batch, texts = _texts(model)
    expected = _whole_states(model, texts)
    with torch.inference_mode():
        layout = decoder.layout(batch, CPU)
        states = decoder.embed(torch.cat(texts), layout)
        got = {0: states, **dict(decoder.climb(states, layout))}
        rows = decoder.read_rows(states, layout)
    assert sorted(got) == list(range(decoder.config.blocks + 1))
    for depth in range(decoder.config.blocks):
        assert relative_error(got[depth], expected[depth]) < TOLERANCE, depth
    top = got[decoder.config.blocks] if decoder.final_norm is None else decoder.final_norm(got[decoder.config.blocks])
    assert relative_error(top, expected[-1]) < TOLERANCE
    ends = np.cumsum([len(ids) for ids in texts])
    read = ends - [len(ids) for ids in texts] if name in ENCODERS else ends - 1
    assert relative_error(rows, expected[-1][torch.from_numpy(read)]) < TOLERANCE
    assert decoder.config.causal == (name not in ENCODERS)


def test_gradients_of_a_tail_equal_the_reference(pair: tuple[str, Any, GenericDecoder]) -> None:
    """Two trainable blocks, final norm and head on stored states get the gradients of the whole model."""
    _, model, decoder = pair
    batch, texts = _texts(model)
    cut = decoder.config.blocks - 2
    tail = new_tail(decoder, blocks=2, depth=decoder.config.blocks, classes=3, seed=4)
    target = torch.randn(len(texts), 3, generator=torch.Generator().manual_seed(3))
    stored = _whole_states(model, texts)[cut]
    (tail(stored, tail.decoder.layout(batch, CPU)) * target).sum().backward()

    model.requires_grad_(True).zero_grad()
    row = -1 if decoder.config.causal else 0
    with _cut_off(model, decoder, cut):
        for ids, wanted in zip(texts, target, strict=True):
            top = model(input_ids=ids[None]).last_hidden_state[0, row]
            ((tail.head.weight.detach() @ top) * wanted).sum().backward()
    assert isinstance(tail.decoder, GenericDecoder)
    names = reference_names(tail.decoder)
    got = {names[name]: parameter.grad for name, parameter in tail.decoder.named_parameters()}
    expected = {name: parameter.grad for name, parameter in model.named_parameters() if name in got}
    assert len(expected) == len(got) > 4
    largest = max(float(gradient.abs().max()) for gradient in expected.values() if gradient is not None)
    assert largest > 0
    for name, gradient in expected.items():
        mine = got[name]
        if gradient is None or mine is None:  # an expert that no token was sent to
            assert gradient is mine is None, name
        else:
            assert float((mine - gradient).abs().max()) < TOLERANCE * largest, name


def test_neighbours_and_order_change_nothing(pair: tuple[str, Any, GenericDecoder]) -> None:
    """Pooled vectors and states alone, in small batches and in one batch are the same."""
    _, _, decoder = pair
    tokens = random_tokens(LENGTHS, vocabulary=90)
    tokens.ids[:] += 2  # no pads
    depth = decoder.config.blocks
    backbone = Backbone(decoder, device=CPU)
    results = []
    for budget in (1, 12, 2048):
        found: dict[int, Any] = {}
        for piece in backbone.run(tokens, Wanted(pooled=(1, depth)), token_budget=budget):
            both = np.concatenate([piece.pooled[1], piece.pooled[depth]], axis=1)
            found |= dict(zip(piece.batch.texts.tolist(), both, strict=True))
        results.append(np.stack([found[place] for place in range(len(LENGTHS))]))
    scale = np.abs(results[0]).max()
    for result in results[1:]:
        assert np.abs(result - results[0]).max() < TOLERANCE * scale


def test_a_cut_reads_and_holds_the_lower_blocks_alone(tmp_path: Path) -> None:
    """Two of three blocks read from a sharded file give the whole model's states; the tail holds no embeddings."""
    reference_model("falcon", tmp_path)
    whole, cut = load_generic(tmp_path), load_generic(tmp_path, depth=2)
    assert list(cut.blocks) == ["0", "1"]
    assert not [name for name in cut.state_dict() if name.startswith("blocks.2.")]
    batch = pack(np.arange(2), np.array([3, 4]))
    ids = torch.arange(7)
    with torch.inference_mode():
        full = dict(whole.climb(whole.embed(ids, whole.layout(batch, CPU)), whole.layout(batch, CPU)))
        part = dict(cut.climb(cut.embed(ids, cut.layout(batch, CPU)), cut.layout(batch, CPU)))
    assert torch.equal(part[2], full[2])
    tail = new_tail(whole, blocks=1, depth=3, classes=2, seed=0)
    assert {name.split(".")[1] for name in tail.state_dict() if name != "head.weight"} == {"blocks", "final_norm"}


def test_weights_that_blocks_share_are_in_no_optimizer(tmp_path: Path) -> None:
    """MPNet's relative positions belong to no block: a tail has them, and does not train them."""
    reference_model("mpnet", tmp_path)
    tail = new_tail(load_generic(tmp_path), blocks=1, depth=3, classes=2, seed=0)
    shared = "decoder.stem.encoder.relative_attention_bias.weight"
    assert shared in tail.state_dict()
    assert shared not in dict(tail.named_parameters())
    assert not [name for name in tail.state_dict() if "word_embeddings" in name]


def test_blocks_that_are_one_module_are_stored_once(tmp_path: Path) -> None:
    """ALBERT's three blocks share their weights: they are kept under the number of the first, in every part."""
    reference_model("albert", tmp_path)
    decoder = load_generic(tmp_path)
    assert len(decoder.blocks) == decoder.config.blocks == 3
    blocks = {name.split(".")[1] for name in decoder.state_dict() if name.startswith("blocks.")}
    assert blocks == {"0"}
    assert list(new_tail(decoder, blocks=1, depth=3, classes=2, seed=0).decoder.blocks) == ["2"]


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt2"])
def test_the_generic_path_equals_the_native_one(family: str, request: pytest.FixtureRequest) -> None:
    """The same states at every depth and the same rows, of models that both can run."""
    folder = request.getfixturevalue(family)
    native, generic = load_decoder(folder), load_generic(folder)
    assert (generic.config.width, generic.config.blocks, generic.config.context) == (32, 4, 256)
    assert (generic.config.vocabulary, generic.config.heads, generic.config.causal) == (400, 4, True)
    tokens = random_tokens(LENGTHS)
    wanted = Wanted(pooled=(0, 1, 2, 3, 4), states=(2,))
    one, other = (list(Backbone(part, device=CPU).run(tokens, wanted)) for part in (native, generic))
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(theirs.states[2], mine.states[2], atol=TOLERANCE)
        for depth in wanted.pooled:
            np.testing.assert_allclose(theirs.pooled[depth], mine.pooled[depth], atol=2 * TOLERANCE)


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt2"])
def test_what_is_learnt_equals_what_a_native_model_learns(
    family: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The same probe, and the same losses in every step of a tail."""
    folder = request.getfixturevalue(family)
    tokens, labels = first_token_task(64)
    rows = rows_of(labels, train=44, validation=20)
    scores, losses = [], []
    for part in (load_decoder(folder), load_generic(folder)):
        store = FeatureStore(tmp_path, {"part": type(part).__name__})
        features = store.features(Backbone(part, device=CPU), tokens, Wanted(pooled=(1, 2), states=(2,)))
        probe, _, _ = choose_probe(features, rows, depths=(1, 2), pooling="last+mean", penalties=(0.1,))
        tail = new_tail(part, blocks=2, depth=4, classes=2, seed=0)
        settings = TailSettings(epochs=2, learning_rate=1e-3)
        events = list(fit_tail(tail, features, labels, train=rows.train, validation=rows.validation, settings=settings))
        losses.append([event.loss for event in events if isinstance(event, Step)])
        scores.append([score_features(scorer, features, rows.validation) for scorer in (probe, tail)])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    for native, generic in zip(*scores, strict=True):
        np.testing.assert_allclose(generic, native, atol=1e-3)
