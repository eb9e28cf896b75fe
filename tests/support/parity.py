"""What equal to the reference library means: states at every depth, the row that is read, every gradient, every name.

Each check is a function of a pair, so that a new family is one line in ``support.architectures``.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from support.architectures import Architecture
from support.reference import packed, ragged, relative_error, write_reference
from tailtune.models.families import FAMILIES
from tailtune.models.int8 import to_int8
from tailtune.models.tensor_files import SafetensorsFolder
from tailtune.models.weights import load_decoder, reference_tensors

# Of the largest value, fp32.
TOLERANCE = 1e-5
# bf16 has 8 bits of mantissa; the errors of all blocks add up.
BF16_TOLERANCE = 0.1
INT8_TOLERANCE = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A reference model, the folder it was saved to, and texts."""

    architecture: Architecture
    model: Any
    folder: Path
    texts: list[NDArray[np.int64]]

    @property
    def trunk(self) -> Any:
        """The model without its LM head."""
        return self.model if self.architecture.encoder else self.model.base_model

    def states(self, text: int) -> list[Tensor]:
        """The states of one text after 0..L blocks; the last ones went through the final norm."""
        with torch.no_grad():
            out = self.trunk(torch.from_numpy(self.texts[text])[None], output_hidden_states=True)
        return [*(state[0] for state in out.hidden_states[:-1]), out.last_hidden_state[0]]


def pair_of(architecture: Architecture, folder: Path) -> Pair:
    """Return a random reference model, saved to ``folder``, with texts of its lengths."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = write_reference(architecture, folder)
    return Pair(architecture=architecture, model=model, folder=folder, texts=ragged(list(architecture.lengths)))


def states_match(pair: Pair) -> None:
    """Packed states after 0..L blocks and the final norm equal a text-by-text reference run."""
    decoder = load_decoder(pair.folder)
    batch, ids, layout = packed(decoder, pair.texts)
    expected = [pair.states(text) for text in batch.texts]
    with torch.inference_mode():
        states = decoder.embed(ids, layout)
        assert relative_error(states, torch.cat([text[0] for text in expected])) < TOLERANCE
        for depth, above in decoder.climb(states, layout):
            states = above
            if depth < decoder.config.blocks:
                assert relative_error(states, torch.cat([text[depth] for text in expected])) < TOLERANCE, depth
        normed = states if decoder.final_norm is None else decoder.final_norm(states)
    assert relative_error(normed, torch.cat([text[-1] for text in expected])) < TOLERANCE


def rows_and_gradients_match(pair: Pair) -> None:
    """The top block computed for one row per text gives the reference's states there and all its gradients."""
    decoder = load_decoder(pair.folder).requires_grad_(True)
    batch, ids, layout = packed(decoder, pair.texts)
    target = torch.randn(len(pair.texts), decoder.config.width, generator=torch.Generator().manual_seed(3))
    rows = decoder.read_rows(decoder.embed(ids, layout), layout)
    (rows * target).sum().backward()  # type: ignore[no-untyped-call]
    place = -1 if decoder.config.causal else 0
    pair.model.zero_grad()
    expected = [
        pair.trunk(torch.from_numpy(pair.texts[text])[None]).last_hidden_state[0, place] for text in batch.texts
    ]
    (torch.stack(expected) * target).sum().backward()  # type: ignore[no-untyped-call]
    assert relative_error(rows.detach(), torch.stack(expected).detach()) < TOLERANCE
    theirs = {name: parameter.grad for name, parameter in pair.model.named_parameters() if parameter.grad is not None}
    prefix = "" if pair.architecture.encoder else FAMILIES[decoder.config.family].prefix
    ours = reference_tensors(decoder, gradients=True)
    assert len(ours) >= 6 * decoder.config.blocks
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    for name, gradient in ours.items():
        wanted = theirs[prefix + name.removeprefix(FAMILIES[decoder.config.family].prefix)]
        # Some are zero but for rounding: softmax does not change with a bias of the keys.
        scale = max(float(wanted.abs().max()), 0.01 * largest)
        assert float((gradient - wanted).abs().max()) < 5 * TOLERANCE * scale, name


def names_match(pair: Pair) -> None:
    """Every tensor under the reference's name and orientation is what its file holds."""
    decoder = load_decoder(pair.folder)
    files = SafetensorsFolder(pair.folder)
    given = reference_tensors(decoder)
    prefix = FAMILIES[decoder.config.family].prefix
    for name, tensor in given.items():
        stored = name if name in files.names() else name.removeprefix(prefix)
        assert torch.equal(tensor, files.read(stored)), name
    parameters = sum(tensor.numel() for tensor in decoder.state_dict().values())
    assert sum(tensor.numel() for tensor in given.values()) == parameters


def bf16_is_near(pair: Pair) -> None:
    """A backbone in bf16 gives states within 10 % of the fp32 ones: 8 bits of mantissa, summed up over blocks."""
    decoder = load_decoder(pair.folder)
    _, ids, layout = packed(decoder, pair.texts)
    with torch.inference_mode():
        exact = dict(decoder.climb(decoder.embed(ids, layout), layout))
        rough = decoder.to(torch.bfloat16)
        _, ids, layout = packed(rough, pair.texts)
        got = dict(rough.climb(rough.embed(ids, layout), layout))
    for depth, states in exact.items():
        assert relative_error(got[depth].float(), states) < BF16_TOLERANCE, depth


def int8_is_near(pair: Pair) -> None:
    """A backbone with products in int8 gives states within 10 % of the fp32 ones, in the norm."""
    decoder = load_decoder(pair.folder)
    part = decoder.below(decoder.config.blocks)
    _, ids, layout = packed(part, pair.texts)
    with torch.inference_mode():
        *_, (_, exact) = part.climb(part.embed(ids, layout), layout)
        rounded = to_int8(part)
        *_, (_, got) = rounded.climb(rounded.embed(ids, layout), layout)
    assert 0 < float((got - exact).norm() / exact.norm()) < INT8_TOLERANCE


CHECKS = {
    "states at every depth": states_match,
    "row that is read, every gradient": rows_and_gradients_match,
    "names there and back, same bytes": names_match,
    "bf16 within 10 %": bf16_is_near,
    "int8 within 10 %": int8_is_near,
}
