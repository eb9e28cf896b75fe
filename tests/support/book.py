"""A GPTModel with the module names of the book's, written for these tests from their description, and its classifier.

Pre-norm blocks, learned positions, scaled dot-product attention under a causal mask kept as a buffer, GELU by its tanh
formula, norms with biased variance; a classifier is the same with another ``out_head``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from support.make_tensorflow_fixture import ONE

VOCABULARY, CONTEXT, WIDTH, HEADS, BLOCKS = 300, 64, 32, 4, 3
END_OF_TEXT_ID = 299
TOKENIZER = ONE
"""A folder with encoder.json and vocab.bpe of ``VOCABULARY`` tokens, the end of text last."""


class _Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return self.scale * centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() + self.shift


class _Gelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class _Attention(nn.Module):
    mask: Tensor

    def __init__(self, width: int, context: int, heads: int, qkv_bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.W_query, self.W_key, self.W_value = (nn.Linear(width, width, bias=qkv_bias) for _ in range(3))
        self.out_proj = nn.Linear(width, width)
        self.register_buffer("mask", torch.triu(torch.ones(context, context), diagonal=1))

    def forward(self, x: Tensor) -> Tensor:
        texts, length, width = x.shape
        q, k, v = (
            product(x).view(texts, length, self.heads, -1).transpose(1, 2)
            for product in (self.W_query, self.W_key, self.W_value)
        )
        scores = (q @ k.transpose(2, 3) / math.sqrt(width // self.heads)).masked_fill(
            self.mask[:length, :length].bool(), -math.inf
        )
        mixed: Tensor = self.out_proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(texts, length, width))
        return mixed


class _FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), _Gelu(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class _Block(nn.Module):
    def __init__(self, width: int, context: int, heads: int, qkv_bias: bool) -> None:
        super().__init__()
        self.att = _Attention(width, context, heads, qkv_bias)
        self.ff = _FeedForward(width)
        self.norm1, self.norm2 = _Norm(width), _Norm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.att(self.norm1(x))
        out: Tensor = x + self.ff(self.norm2(x))
        return out


class GPTModel(nn.Module):
    """The model; ``out_head`` is replaced to make a classifier of it.

    Args:
        qkv_bias: Whether query, key and value products have a bias.
    """

    def __init__(self, *, qkv_bias: bool = True) -> None:
        super().__init__()
        self.tok_emb = nn.Embedding(VOCABULARY, WIDTH)
        self.pos_emb = nn.Embedding(CONTEXT, WIDTH)
        self.trf_blocks = nn.Sequential(*(_Block(WIDTH, CONTEXT, HEADS, qkv_bias) for _ in range(BLOCKS)))
        self.final_norm = _Norm(WIDTH)
        self.out_head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Return [N, T, out] scores of [N, T] token ids."""
        x = self.tok_emb(ids) + self.pos_emb(torch.arange(ids.shape[1]))
        out: Tensor = self.out_head(self.final_norm(self.trf_blocks(x)))
        return out


def book_model(*, classes: int | None = None, qkv_bias: bool = True, seed: int = 0) -> GPTModel:
    """Return a random model in eval mode, norms and biases perturbed; a classifier where ``classes`` is given."""
    torch.manual_seed(seed)
    model = GPTModel(qkv_bias=qkv_bias)
    if classes is not None:
        model.out_head = nn.Linear(WIDTH, classes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


def save_book(model: GPTModel, path: Path) -> Path:
    """Return ``path``, now a safetensors file or what ``torch.save`` makes of the state dict."""
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(model.state_dict(), path)
    else:
        torch.save(model.state_dict(), path)
    return path


def book_ids(text: str) -> list[int]:
    """Return the token ids of ``text``, a special token in it read as text, by the reference library."""
    from transformers import GPT2Tokenizer

    reference = GPT2Tokenizer(vocab=str(TOKENIZER / "encoder.json"), merges=str(TOKENIZER / "vocab.bpe"))
    ids: list[int] = reference(text, split_special_tokens=True)["input_ids"]
    return ids


def classify(model: GPTModel, texts: Sequence[str], *, pad_to: int | None) -> Tensor:
    """Return [N, C] scores, a text at a time: its first tokens, padded at the end or not, read at the last place.

    Args:
        model: A classifier.
        texts: Any; an empty one is one end-of-text token where nothing is padded.
        pad_to: Tokens of every text after cutting and padding with the end-of-text token; None does neither.
    """
    rows = []
    for text in texts:
        ids = book_ids(text)[: min(pad_to or CONTEXT, CONTEXT)]
        ids = (ids + [END_OF_TEXT_ID] * (pad_to - len(ids))) if pad_to else ids or [END_OF_TEXT_ID]
        rows.append(model(torch.tensor(ids)[None])[0, -1])
    return torch.stack(rows)
