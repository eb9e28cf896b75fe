"""int8 products are close to fp32 ones, exact sums, and blind to what else is in the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from support.texts import random_tokens
from tailtune.errors import SetupError
from tailtune.features.backbone import Backbone, Wanted, choose_device
from tailtune.models.decoder import Decoder
from tailtune.models.int8 import Int8Linear, int8_is_faster, rounded, to_int8
from tailtune.models.weights import load_decoder


def test_rounding_is_within_half_a_step() -> None:
    """Each row has its own scale, its largest number becomes 127, and zeros stay zeros."""
    x = torch.randn(5, 40) * torch.tensor([1e-30, 1e-3, 1.0, 1e6, 0.0]).unsqueeze(1)
    rows, scale = rounded(x)
    assert rows.dtype == torch.int8
    assert rows.abs().amax(1).tolist() == [127, 127, 127, 127, 0]
    assert ((rows * scale - x).abs() <= 0.5001 * scale).all()


@pytest.mark.parametrize("rows", [1, 3, 70])
@pytest.mark.parametrize("bias", [False, True])
def test_a_product_is_the_product_of_the_rounded(rows: int, bias: bool) -> None:
    """Integers are multiplied and summed exactly; scales and bias come after."""
    torch.manual_seed(0)
    x, weight = torch.randn(rows, 20), torch.randn(12, 20)
    layer = Int8Linear(20, 12, bias=bias)
    layer.weight, scale = rounded(weight)
    layer.scale = scale.flatten()
    if bias:
        layer.bias = torch.randn(12)
    (x_rows, x_scale), (w_rows, w_scale) = rounded(x), rounded(weight)
    expected = (x_rows.double() @ w_rows.double().T) * x_scale.double() * w_scale.double().T
    expected = expected + (layer.bias.double() if layer.bias is not None else 0.0)
    torch.testing.assert_close(layer(x).double(), expected, rtol=1e-5, atol=1e-6)


def product_bytes(decoder: Decoder) -> int:
    return sum(tensor.nbytes for name, tensor in decoder.state_dict().items() if "weight" in name and tensor.ndim == 2)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_decoder_in_int8_is_close_and_small(family: str, request: pytest.FixtureRequest) -> None:
    """States differ by a few percent, weights take a quarter, and the fp32 decoder stays as it was."""
    folder: Path = request.getfixturevalue(f"tiny_{family}")
    decoder = load_decoder(folder).below(3)
    before = {name: tensor.clone() for name, tensor in decoder.state_dict().items()}
    small = to_int8(decoder)
    assert all(torch.equal(tensor, before[name]) for name, tensor in decoder.state_dict().items())
    tokens, wanted = random_tokens([4, 9, 17, 30], seed=0), Wanted(pooled=(3,))
    cpu = torch.device("cpu")
    (plain,) = Backbone(decoder, device=cpu).run(tokens, wanted)
    (rough,) = Backbone(small, device=cpu).run(tokens, wanted)
    error = np.linalg.norm(rough.pooled[3] - plain.pooled[3]) / np.linalg.norm(plain.pooled[3])
    assert 0 < error < 0.05
    assert product_bytes(small) < 0.45 * product_bytes(decoder)
    assert not any(parameter.requires_grad for parameter in small.parameters())


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_bert"])
def test_a_text_is_scored_alike_alone_and_in_company(model: str, request: pytest.FixtureRequest) -> None:
    """Rows are rounded one by one. Attention sums in another order may turn one rounding, no more."""
    folder: Path = request.getfixturevalue(model)
    backbone = Backbone(to_int8(load_decoder(folder).below(4)), device=torch.device("cpu"))
    tokens = random_tokens([5, 5, 8, 13, 13, 13, 21], seed=4)
    together = np.empty((7, 2, backbone.width), dtype=np.float32)
    for piece in backbone.run(tokens, Wanted(pooled=(4,))):
        together[piece.batch.texts] = piece.pooled[4]
    for text in range(7):
        (alone,) = backbone.run(tokens.take(np.array([text])), Wanted(pooled=(4,)))
        size = np.abs(together[text]).max()
        np.testing.assert_allclose(alone.pooled[4][0], together[text], atol=0.02 * size)


def test_int8_stays_on_the_processor() -> None:
    """An accelerator is neither chosen for it nor accepted."""
    assert choose_device("auto", "int8").type == "cpu"
    with pytest.raises(SetupError, match="int8 runs on the processor only, not on 'cuda'"):
        choose_device("cuda", "int8")


def test_the_trial_leaves_the_threads_as_they_were() -> None:
    """The quick comparison runs on one thread and restores the setting."""
    before = torch.get_num_threads()
    assert int8_is_faster(256, 512) in (True, False)
    assert torch.get_num_threads() == before
    assert not int8_is_faster(255, 512)
