"""Tiny random language models as Hugging Face folders, made in milliseconds with numpy and tokenizers alone.

Norms and biases are perturbed away from ones and zeros: with default values a swapped norm or a lost bias goes unseen.
The files are what ``save_pretrained`` writes (names, orientation, config keys), so that transformers loads them too.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

Tensors = dict[str, "NDArray[np.float32]"]

END_OF_TEXT = "<|endoftext|>"
WORDPIECE_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
CONTEXT = 256
VOCABULARY = 400

CORPUS = (
    "Hey, are we still on for dinner tonight? Let me know when you leave work.",
    "WINNER!! You have been selected to receive a 900 pound prize. Call 09061701461 now to claim.",
    "Ok lar... I'll be there in five minutes, save me a seat please.",
    "URGENT! Your mobile number has won a free holiday. Text WIN to 80086, cost 150p per message.",
    "Can you pick up some milk and bread on the way home? Thanks, love you.",
    "FREE ringtone! Reply YES to 87121 to get the latest tones. Terms and conditions apply.",
    "The meeting was moved to Thursday at 3, the room stays the same as last time.",
    "Congratulations, claim your cash reward today, limited offer, visit www.example.com",
    "I am sorry that I missed your call, my phone was on silent during the lecture.",
    "What is the capital of France? Who wrote the first novel? How many miles to the moon?",
)
"""What the tokenizer is trained on; written for this purpose."""


def write_tiny_llama(
    folder: Path,
    *,
    seed: int = 0,
    blocks: int = 4,
    width: int = 32,
    heads: int = 4,
    kv_heads: int = 2,
    vocabulary: int = VOCABULARY,
    context: int = CONTEXT,
) -> Path:
    """Return ``folder``, now holding a random Llama: config.json, model.safetensors, tokenizer.json.

    Args:
        folder: Created when missing.
        seed: Of the weights; the tokenizer is always the same.
        blocks: Number of transformer blocks.
        width: Of the hidden states; the MLP is ``2 * width`` wide.
        heads: Query heads; ``width`` is a multiple of it and ``width // heads`` is even (rotary positions).
        kv_heads: Key and value heads; divides ``heads``.
        vocabulary: Token ids, at least 257: 256 bytes and the end-of-text token.
        context: Longest text in tokens.
    """
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "hidden_act": "silu",
        "max_position_embeddings": context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "torch_dtype": "float32",
    }
    return _write_decoder(folder, config, _llama_tensors(config, np.random.default_rng(seed)), digits_alone=True)


def write_tiny_gpt2(
    folder: Path,
    *,
    seed: int = 0,
    blocks: int = 4,
    width: int = 32,
    heads: int = 4,
    vocabulary: int = VOCABULARY,
    context: int = CONTEXT,
    prefix: str = "transformer.",
) -> Path:
    """Return ``folder``, now holding a random GPT-2: config.json, model.safetensors, tokenizer.json.

    Args:
        folder: Created when missing.
        seed: Of the weights; the tokenizer is always the same.
        blocks: Number of transformer blocks.
        width: Of the hidden states; the MLP is ``4 * width`` wide.
        heads: Attention heads; divides ``width``.
        vocabulary: Token ids, at least 257: 256 bytes and the end-of-text token.
        context: Longest text in tokens.
        prefix: In front of each tensor name; "" is how the first published GPT-2 files are written.
    """
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": vocabulary,
        "n_positions": context,
        "n_embd": width,
        "n_layer": blocks,
        "n_head": heads,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
        "attn_pdrop": 0.1,
        "embd_pdrop": 0.1,
        "resid_pdrop": 0.1,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "torch_dtype": "float32",
    }
    return _write_decoder(
        folder, config, _gpt2_tensors(config, np.random.default_rng(seed), prefix), digits_alone=False
    )


def write_tiny_bert(
    folder: Path,
    *,
    seed: int = 0,
    blocks: int = 4,
    width: int = 32,
    heads: int = 4,
    vocabulary: int = VOCABULARY,
    context: int = CONTEXT,
) -> Path:
    """Return ``folder``, now holding a random BERT under bare names, as sentence encoders are published.

    Args:
        folder: Created when missing.
        seed: Of the weights; the tokenizer is always the same.
        blocks: Number of transformer blocks.
        width: Of the hidden states; the MLP is ``2 * width`` wide.
        heads: Attention heads; divides ``width``.
        vocabulary: Token ids, at least 100: the letters of the corpus, alone and inside words.
        context: Longest text in tokens, [CLS] and [SEP] among them.
    """
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
        "hidden_act": "gelu",
        "max_position_embeddings": context,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "position_embedding_type": "absolute",
        "pad_token_id": 0,
        "torch_dtype": "float32",
    }
    tokens = {f"{name}_token": token for name, token in WORDPIECE_TOKENS.items()}
    tensors = _bert_tensors(config, np.random.default_rng(seed))
    return _write(folder, config, tensors, tiny_wordpiece(vocabulary=vocabulary), tokens)


@functools.cache
def tiny_wordpiece(*, vocabulary: int = VOCABULARY) -> Tokenizer:
    """Return a lower-casing WordPiece trained on CORPUS that puts [CLS] before and [SEP] after every text.

    Args:
        vocabulary: Number of token ids wanted.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    special = list(WORDPIECE_TOKENS.values())
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return tokenizer


@functools.cache
def tiny_tokenizer(*, vocabulary: int = VOCABULARY, digits_alone: bool = False) -> Tokenizer:
    """Return a byte-level BPE trained on CORPUS; id 0 is the end-of-text token.

    Args:
        vocabulary: Number of token ids wanted; the corpus yields at most about 600.
        digits_alone: Split every digit from its neighbours first, as the SmolLM tokenizers do.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level]) if digits_alone else byte_level
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _write_decoder(folder: Path, config: dict[str, Any], tensors: Tensors, *, digits_alone: bool) -> Path:
    tokenizer = tiny_tokenizer(vocabulary=config["vocab_size"], digits_alone=digits_alone)
    return _write(folder, config, tensors, tokenizer, {"eos_token": END_OF_TEXT, "bos_token": END_OF_TEXT})


def _write(
    folder: Path, config: dict[str, Any], tensors: Tensors, tokenizer: Tokenizer, special: dict[str, str]
) -> Path:
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer_config = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _matrix(random: np.random.Generator, rows: int, columns: int, fan_in: int) -> NDArray[np.float32]:
    values: NDArray[np.float64] = random.standard_normal((rows, columns)) / np.sqrt(fan_in)
    return values.astype(np.float32)


def _around(random: np.random.Generator, centre: float, size: int) -> NDArray[np.float32]:
    values: NDArray[np.float64] = centre + 0.2 * random.standard_normal(size)
    return values.astype(np.float32)


def _llama_tensors(config: dict[str, Any], random: np.random.Generator) -> Tensors:
    width, wide = config["hidden_size"], config["intermediate_size"]
    narrow = width // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes = {
        "self_attn.q_proj": (width, width),
        "self_attn.k_proj": (narrow, width),
        "self_attn.v_proj": (narrow, width),
        "self_attn.o_proj": (width, width),
        "mlp.gate_proj": (wide, width),
        "mlp.up_proj": (wide, width),
        "mlp.down_proj": (width, wide),
    }
    tensors: Tensors = {"model.embed_tokens.weight": _matrix(random, config["vocab_size"], width, 1)}
    for block in range(config["num_hidden_layers"]):
        for name, (rows, columns) in shapes.items():
            tensors[f"model.layers.{block}.{name}.weight"] = _matrix(random, rows, columns, columns)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{block}.{name}.weight"] = _around(random, 1.0, width)
    tensors["model.norm.weight"] = _around(random, 1.0, width)
    return tensors


def _gpt2_tensors(config: dict[str, Any], random: np.random.Generator, prefix: str) -> Tensors:
    width = config["n_embd"]
    shapes = {  # (in, out): GPT-2's layers are stored transposed
        "attn.c_attn": (width, 3 * width),
        "attn.c_proj": (width, width),
        "mlp.c_fc": (width, 4 * width),
        "mlp.c_proj": (4 * width, width),
    }
    tensors: Tensors = {
        f"{prefix}wte.weight": _matrix(random, config["vocab_size"], width, 1),
        f"{prefix}wpe.weight": 0.3 * _matrix(random, config["n_positions"], width, 1),
    }
    for block in range(config["n_layer"]):
        for name, (rows, columns) in shapes.items():
            tensors[f"{prefix}h.{block}.{name}.weight"] = _matrix(random, rows, columns, rows)
            tensors[f"{prefix}h.{block}.{name}.bias"] = _around(random, 0.0, columns)
        for name in ("ln_1", "ln_2"):
            tensors[f"{prefix}h.{block}.{name}.weight"] = _around(random, 1.0, width)
            tensors[f"{prefix}h.{block}.{name}.bias"] = _around(random, 0.0, width)
    tensors[f"{prefix}ln_f.weight"] = _around(random, 1.0, width)
    tensors[f"{prefix}ln_f.bias"] = _around(random, 0.0, width)
    return tensors


def _bert_tensors(config: dict[str, Any], random: np.random.Generator) -> Tensors:
    width, wide = config["hidden_size"], config["intermediate_size"]
    shapes = {
        "attention.self.query": (width, width),
        "attention.self.key": (width, width),
        "attention.self.value": (width, width),
        "attention.output.dense": (width, width),
        "intermediate.dense": (wide, width),
        "output.dense": (width, wide),
    }
    tensors: Tensors = {
        "embeddings.word_embeddings.weight": _matrix(random, config["vocab_size"], width, 1),
        "embeddings.position_embeddings.weight": 0.3 * _matrix(random, config["max_position_embeddings"], width, 1),
        "embeddings.token_type_embeddings.weight": 0.3 * _matrix(random, config["type_vocab_size"], width, 1),
        "pooler.dense.weight": _matrix(random, width, width, width),
        "pooler.dense.bias": _around(random, 0.0, width),
    }
    norms = ["embeddings.LayerNorm"]
    for block in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{block}"
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
        for name, (rows, columns) in shapes.items():
            tensors[f"{layer}.{name}.weight"] = _matrix(random, rows, columns, columns)
            tensors[f"{layer}.{name}.bias"] = _around(random, 0.0, rows)
    for name in norms:
        tensors[f"{name}.weight"] = _around(random, 1.0, width)
        tensors[f"{name}.bias"] = _around(random, 0.0, width)
    return tensors
