"""GGUF files of every family become folders whose logits are those of the model that the file was written from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from support.reference import packed, ragged, relative_error
from support.tiny_gguf import MODELS, VOCABULARY, add_word_piece, converted, random_model, write_gguf
from support.tiny_models import CORPUS
from tailtune.models.gguf.convert import convert_gguf
from tailtune.models.weights import load_decoder

_LENGTH = 48  # longer than every window and every original context of the models


def load_converted(source: Path, folder: Path) -> Any:
    """Return the reference's model of the folder that a GGUF file becomes; no weight is missing, none left over."""
    from transformers import AutoModelForCausalLM

    folder.mkdir()
    convert_gguf(source, folder)
    model, told = AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, dtype=torch.float32, attn_implementation="eager"
    )
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


def logits(model: Any) -> Tensor:
    """Return [1, 48, V] the logits of random ids."""
    ids = torch.from_numpy(np.random.default_rng(4).integers(0, VOCABULARY, (1, _LENGTH)))
    with torch.no_grad():
        found: Tensor = model(ids).logits
    return found


@pytest.mark.parametrize("name", MODELS)
def test_weights_and_logits_are_those_of_the_model(tmp_path: Path, name: str) -> None:
    """Bit for bit the weights, but for Gemma's norms: of one added and taken away the rounding stays, half a unit of
    the larger number, 2^-23 at most for sums below 4. Logits to 1e-5: config.json says all that they hang on.
    """
    model = random_model(name)
    source = write_gguf(tmp_path / "model.gguf", name, converted(name, model), model.config)
    loaded = load_converted(source, tmp_path / "out")
    expected, got = model.state_dict(), loaded.state_dict()
    assert set(got) == set(expected)
    for weight, values in expected.items():
        plus_one = MODELS[name][0].startswith("gemma") and weight.endswith("norm.weight")
        assert (got[weight] - values).abs().max() <= (2**-23 if plus_one else 0), weight
    assert relative_error(logits(loaded), logits(model)) < 1e-5
    angles = dict(loaded.named_buffers())
    for buffer, values in model.named_buffers():
        torch.testing.assert_close(angles[buffer], values, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", MODELS)
def test_our_decoder_reads_the_folder_as_the_reference_does(tmp_path: Path, name: str) -> None:
    """Two texts together, the first longer than windows and original contexts: final states of the model itself."""
    model = random_model(name)
    load_converted(write_gguf(tmp_path / "m.gguf", name, converted(name, model), model.config), tmp_path / "out")
    decoder = load_decoder(tmp_path / "out")
    assert decoder.config.context >= _LENGTH
    texts = ragged([_LENGTH, 5], vocabulary=VOCABULARY)
    batch, ids, layout = packed(decoder, texts)
    with torch.inference_mode():
        states = decoder.embed(ids, layout)
        for _, above in decoder.climb(states, layout):
            states = above
        assert decoder.final_norm is not None
        got = decoder.final_norm(states)
        runs = [model(torch.from_numpy(texts[i])[None], output_hidden_states=True) for i in batch.texts]
    assert relative_error(got, torch.cat([run.hidden_states[-1][0] for run in runs])) < 1e-5


def _word_piece() -> Any:
    from tokenizers import BertWordPieceTokenizer

    trained = BertWordPieceTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trained.train_from_iterator(CORPUS, vocab_size=VOCABULARY, special_tokens=special, show_progress=False)
    return trained._tokenizer


@pytest.mark.parametrize("quantisation", ["F32", "Q8_0"])
def test_bert_s_states_are_those_of_the_model(tmp_path: Path, quantisation: str) -> None:
    """The one encoder: no weight missing but the pooler, which llama.cpp leaves out and nobody here reads."""
    from transformers import BertModel

    model = random_model("bert")
    source = write_gguf(
        tmp_path / "model.gguf",
        "bert",
        converted("bert", model),
        model.config,
        quantisation=quantisation,
        tokenizer=lambda writer: add_word_piece(writer, _word_piece()),
    )
    (tmp_path / "out").mkdir()
    convert_gguf(source, tmp_path / "out")
    loaded, told = BertModel.from_pretrained(tmp_path / "out", output_loading_info=True, add_pooling_layer=False)
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = torch.from_numpy(ragged([_LENGTH], vocabulary=VOCABULARY)[0])[None]
    with torch.no_grad():
        got, expected = loaded.eval()(ids).last_hidden_state, model(ids).last_hidden_state
    assert relative_error(got, expected) < (1e-5 if quantisation == "F32" else 0.1)


# Root mean square error of a weight, relative to the weights': with n bits over a block of 32 normal numbers, whose
# largest is 2.07 and whose range 4.14 standard deviations on average, it is uniform over a step, so step / sqrt(12).
# fp16 and bf16 round 11 and 8 significant bits; half a unit, uniform, of a number that is 0.7 of its power of two.
_ERRORS = {
    "F16": 2**-11 / 3**0.5 * 0.7,
    "BF16": 2**-8 / 3**0.5 * 0.7,
    "Q8_0": 2.07 / 127 / 12**0.5,
    "Q5_1": 4.14 / 31 / 12**0.5,
    "Q5_0": 2.07 / 16 / 12**0.5,
    "Q4_1": 4.14 / 15 / 12**0.5,
    "Q4_0": 2.07 / 8 / 12**0.5,
}


@pytest.mark.parametrize("quantisation", _ERRORS)
def test_logits_are_within_the_error_of_the_quantisation(tmp_path: Path, quantisation: str) -> None:
    """Where products keep the size of what goes in, each of four blocks' seven, the embedding and the head adds its
    weights' relative error, and independent errors add as squares: sqrt(30) times one weight's, to a factor of 1.5.
    """
    model = random_model("llama")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("proj.weight"):
                parameter.mul_(0.6)  # from 0.2 to 1 / sqrt(64)
    tensors = converted("llama", model)
    source = write_gguf(tmp_path / "model.gguf", "llama", tensors, model.config, quantisation=quantisation)
    expected, got = logits(model), logits(load_converted(source, tmp_path / "out"))
    error = float(((got - expected).square().mean() / expected.square().mean()).sqrt())
    foreseen = 30**0.5 * _ERRORS[quantisation]
    assert foreseen / 1.5 < error < foreseen * 1.5


@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma2", "gemma3", "phi3", "gpt2", "bloom"])
@pytest.mark.parametrize("quantisation", ["F16", "Q4_0"])
def test_the_reference_reads_the_same_from_the_file_itself(tmp_path: Path, name: str, quantisation: str) -> None:
    """The reference library's own GGUF reader gives the same weights, where it knows the architecture.

    It reads neither how many positions GPT-2 has nor that Phi-3 has no padding token: the files have its defaults.
    """
    from transformers import AutoModelForCausalLM

    model = random_model(name, **({"n_positions": 1024} if name == "gpt2" else {}))
    source = write_gguf(
        tmp_path / "model.gguf",
        name,
        converted(name, model),
        model.config,
        quantisation=quantisation,
        fields=lambda writer: writer.add_pad_token_id(0),
    )
    reference = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=source.name, dtype=torch.float32)
    expected, got = reference.state_dict(), load_converted(source, tmp_path / "out").state_dict()
    for weight, values in expected.items():
        torch.testing.assert_close(got[weight], values, rtol=0, atol=0, msg=weight)
