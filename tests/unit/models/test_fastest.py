"""Products through oneDNN are the products of the layers they stand in for, at any number of rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from support.texts import random_tokens
from support.tiny_models import write_tiny_bert, write_tiny_gpt2, write_tiny_llama
from tailtune.features.backbone import Backbone, Wanted
from tailtune.models import fastest
from tailtune.models.fastest import OneDnnInt8Linear, fastest_twin, int8_is_exact
from tailtune.models.int8 import Int8Linear, rounded, to_int8
from tailtune.models.onednn import OneDnnLinear, fastest_linear
from tailtune.models.weights import load_decoder

CPU = torch.device("cpu")


@pytest.fixture(params=[write_tiny_llama, write_tiny_gpt2, write_tiny_bert])
def wide(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model wide enough for oneDNN, without biases (Llama) or with them (GPT-2), or an encoder (BERT)."""
    folder: Path = request.param(tmp_path / "model", width=256, blocks=2)
    return folder


@pytest.mark.parametrize("rows", [1, 3, 70])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("copy", [False, True])
def test_a_product_is_the_layers(rows: int, bias: bool, copy: bool) -> None:
    """Weight and bias as they are, whether laid out anew or not; the layer is left as it was."""
    torch.manual_seed(0)
    layer, x = nn.Linear(300, 260, bias=bias), torch.randn(rows, 300)
    before = layer.weight.detach().clone()
    expected = x.double() @ layer.weight.double().T + (layer.bias.double() if bias else 0.0)
    torch.testing.assert_close(OneDnnLinear(layer, copy=copy)(x).double(), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(layer.weight, before)


def test_only_wide_fp32_layers_are_replaced(wide: Path, tiny_llama: Path) -> None:
    """Narrow models compute as they are."""
    decoder = load_decoder(wide).below(2)
    assert not list(fastest_twin(decoder).products(nn.Linear))
    assert len(list(decoder.products(nn.Linear))) == 8
    narrow = fastest_twin(load_decoder(tiny_llama).below(2))
    assert not any(isinstance(layer, OneDnnLinear) for layer in narrow.modules())
    assert isinstance(fastest_linear(nn.Linear(255, 256)), nn.Linear)


@pytest.mark.parametrize("limit", [0, 2**30])
def test_the_pass_gives_the_decoders_states(wide: Path, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within 1e-5 of the decoder's own modules, with and without a copy of the weights, alone and in company."""
    monkeypatch.setattr(fastest, "COPY_LIMIT", limit)
    decoder = load_decoder(wide).below(2)
    tokens, wanted = random_tokens([5, 5, 8, 13, 13, 21, 40], seed=4), Wanted(pooled=(2,), states=(1,))
    backbone = Backbone(decoder, device=CPU)
    (piece,) = backbone.run(tokens, wanted)
    with torch.inference_mode():
        layout = decoder.layout(piece.batch, CPU)
        ids = torch.from_numpy(tokens.take(piece.batch.texts).ids)
        states = dict(decoder.climb(decoder.embed(ids, layout), layout))
    np.testing.assert_allclose(piece.states[1], states[1].numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(piece.pooled[2][:, 0], states[2][layout.read].numpy(), rtol=1e-5, atol=1e-5)
    for row, text in enumerate(piece.batch.texts.tolist()):
        (alone,) = backbone.run(tokens.take(np.array([text])), wanted)
        np.testing.assert_allclose(alone.pooled[2][0], piece.pooled[2][row], rtol=1e-5, atol=1e-5)


def test_what_is_saved_is_the_decoders(wide: Path) -> None:
    """A backbone keeps the layers it was given: names and values of its state dict do not change."""
    decoder = load_decoder(wide).below(2)
    before = {name: tensor.clone() for name, tensor in decoder.state_dict().items()}
    after = Backbone(decoder, device=CPU).decoder.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def int8_layer(bias: bool) -> Int8Linear:
    torch.manual_seed(0)
    layer = Int8Linear(300, 260, bias=bias)
    weight, scale = rounded(torch.randn(260, 300))
    layer.weight.copy_(weight)
    layer.scale.copy_(scale.flatten())
    if layer.bias is not None:
        layer.bias.copy_(torch.randn(260))
    return layer


@pytest.mark.skipif(not int8_is_exact(), reason="this processor's laid out int8 products overflow, or there are none")
@pytest.mark.parametrize("rows", [1, 3, 70])
@pytest.mark.parametrize("bias", [False, True])
def test_an_int8_product_is_the_layers(rows: int, bias: bool) -> None:
    """The same integers: the same numbers to the bit but for the order of two scales."""
    layer = int8_layer(bias)
    x = torch.randn(rows, 300) * torch.logspace(-3, 3, rows)[:, None]
    x[-1, ::2] = 0.0
    torch.testing.assert_close(OneDnnInt8Linear(layer)(x), layer(x), rtol=1e-6, atol=0.0)
    zeros = torch.zeros(2, 300)
    assert torch.equal(OneDnnInt8Linear(layer)(zeros), layer(zeros))


@pytest.mark.skipif(not int8_is_exact(), reason="this processor's laid out int8 products overflow, or there are none")
def test_an_int8_pass_gives_the_decoders_states(wide: Path) -> None:
    """Each layer laid out, the decoder's own tensors in its state dict as before, the same pooled states."""
    decoder = to_int8(load_decoder(wide).below(2))
    before = {name: tensor.clone() for name, tensor in decoder.state_dict().items()}
    twin = fastest_twin(decoder)
    assert sum(isinstance(layer, OneDnnInt8Linear) for layer in twin.modules()) == 8
    backbone = Backbone(decoder, device=CPU)
    after = backbone.decoder.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    tokens, wanted = random_tokens([5, 5, 8, 40], seed=4), Wanted(pooled=(2,))
    (piece,) = backbone.run(tokens, wanted)
    with torch.inference_mode():
        layout = decoder.layout(piece.batch, CPU)
        ids = torch.from_numpy(tokens.take(piece.batch.texts).ids)
        states = dict(decoder.climb(decoder.embed(ids, layout), layout))
    np.testing.assert_allclose(piece.pooled[2][:, 0], states[2][layout.read].numpy(), rtol=1e-5, atol=1e-5)
