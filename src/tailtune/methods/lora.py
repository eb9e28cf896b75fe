"""LoRA: frozen blocks with a trained update of low rank beside their products, by the library peft.

Products that the reference library keeps apart (Llama's query, key, value, gate and up) are trained apart, so the same
start gives the same curve; those that it fuses (GPT-2's) stay fused. When training is done the updates are added to the
weights: what is saved is an ordinary tail. Nothing but this module imports peft, which takes seconds.
"""

from __future__ import annotations

import importlib.util
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tailtune.errors import ConfigError, SetupError
from tailtune.methods.scorers import TailScorer
from tailtune.models.decoder import Block, Decoder
from tailtune.models.families import FAMILIES
from tailtune.models.joined import Joined
from tailtune.models.parts import Shape, make_part
from tailtune.models.shape import DecoderConfig

LoraKind = Literal["lora", "dora", "rslora"]

_PARTS: Mapping[str, tuple[str, ...]] = {"query_key_value": ("query", "key", "value"), "mlp_in": ("gate", "up")}
_NAME = "default"


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraSettings:
    """What is added to the products.

    Attributes:
        rank: Of each update B A.
        alpha: The update is multiplied by alpha / rank, in "rslora" by alpha / sqrt(rank) (arXiv 2312.03732).
        dropout: Share of an update's inputs that each step leaves out.
        targets: Names of products with commas, or "all".
        kind: "dora" trains the length of each output's weights apart from their direction (arXiv 2402.09353).
    """

    rank: int = 16
    alpha: float = 16.0
    dropout: float = 0.0
    targets: str = "all"
    kind: LoraKind = "lora"


@dataclass(frozen=True, kw_only=True, slots=True)
class Adapter:
    """What LoRA trained, before it was added to the weights.

    Attributes:
        config: Of the decoder.
        depth: Blocks in all.
        settings: As trained.
        layers: Name of a product, "blocks.3.query_key_value.query" -> peft's name of a tensor, "lora_A" -> its values.
        head: [C, D].
    """

    config: DecoderConfig
    depth: int
    settings: LoraSettings
    layers: Mapping[str, Mapping[str, Tensor]]
    head: Tensor


def require_peft() -> None:
    """Return if peft can be imported.

    Raises:
        SetupError: If it is not installed.
    """
    if importlib.util.find_spec("peft") is None:
        raise SetupError("--method lora needs the package peft", hint="pip install 'tailtune[lora]'")


def products_of(shape: Shape, targets: str) -> tuple[str, ...]:
    """Return the products inside a block that ``targets`` names: "attention_output", "query_key_value.query" ...

    Args:
        shape: Of the model: where its family fuses products they are one.
        targets: Names with commas, or "all".

    Raises:
        ConfigError: If a name is not known, or names a part of a fused product; if the model is no native one.
    """
    if not isinstance(shape, DecoderConfig):
        hint = "train it with --method full --from-depth 1 or more, or a tail"
        raise ConfigError(f"--method lora is for native families; {shape.title} runs through transformers", hint=hint)
    known: dict[str, tuple[str, ...]] = {"attention_output": ("attention_output",), "mlp_out": ("mlp_out",)}
    for product, parts in _PARTS.items():
        names = tuple(f"{product}.{part}" for part in parts_of(shape, product))
        known[product] = names or (product,)
        known |= {part: (name,) for part, name in zip(parts, names, strict=False)}
    asked = list(known) if targets.strip() == "all" else [name.strip() for name in targets.split(",") if name.strip()]
    if unknown := [name for name in asked if name not in known]:
        hint = f"its products: all, {', '.join(sorted(known))}"
        raise ConfigError(f"--lora-targets: {FAMILIES[shape.family].title} has no product {unknown[0]!r}", hint=hint)
    return tuple(dict.fromkeys(product for name in asked for product in known[name]))


def parts_of(config: DecoderConfig, product: str) -> tuple[str, ...]:
    """Return the parts that the reference library keeps as layers of their own; none where the product is one layer.

    Args:
        config: Of the decoder.
        product: Our name of it inside a block.
    """
    parts = _PARTS.get(product, ())
    names = FAMILIES[config.family].block_weights[f"{product}.weight"].names
    return parts if len(names) == len(parts) > 1 else ()


def add_lora(tail: TailScorer, settings: LoraSettings, *, seed: int) -> None:
    """Put adapters on the products of ``tail`` and freeze all of it but these and the head.

    Args:
        tail: From ``new_tail``; changed in place.
        settings: What is added.
        seed: A starts uniform in ±1/sqrt(inputs), as peft draws it; B starts at zero, so the first loss is that
            of the frozen blocks.

    Raises:
        ConfigError: See ``products_of``.
        SetupError: If peft is not installed.
    """
    require_peft()
    part = tail.decoder
    products = products_of(part.config, settings.targets)
    assert isinstance(part, Decoder)
    for block in part.blocks.values():
        assert isinstance(block, Block)
        for name in {product.split(".")[0] for product in products if "." in product}:
            setattr(block, name, _split(block.get_submodule(name), part.config, name))
    tail.decoder.requires_grad_(False)
    pattern = rf"blocks\.[0-9]+\.({'|'.join(map(re.escape, products))})"
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports, and of how modules are named
        from peft import inject_adapter_in_model

        torch.manual_seed(seed)
        inject_adapter_in_model(peft_config(settings, target_modules=pattern), part, adapter_name=_NAME)
    for name, parameter in part.named_parameters():
        parameter.requires_grad_("lora_" in name)


def peft_config(settings: LoraSettings, *, target_modules: str | Sequence[str], **about: Any) -> Any:
    """Return peft's own configuration of these settings.

    Args:
        settings: Ours.
        target_modules: A pattern, or whole names.
        about: Further fields of it.
    """
    from peft import LoraConfig

    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        use_dora=settings.kind == "dora",
        use_rslora=settings.kind == "rslora",
        target_modules=target_modules if isinstance(target_modules, str) else list(target_modules),
        **about,
    )


def _split(product: nn.Module, config: DecoderConfig, name: str) -> Joined:
    assert isinstance(product, nn.Linear)
    weights = torch.split(product.weight.detach(), sizes_of(config, name))
    biases: Sequence[Tensor | None] = [None] * len(weights)
    if product.bias is not None:
        biases = torch.split(product.bias.detach(), sizes_of(config, name))
    return Joined({part: _linear(*both) for part, *both in zip(_PARTS[name], weights, biases, strict=True)})


def sizes_of(config: DecoderConfig, product: str) -> list[int]:
    """Return the outputs of each part of a product that has parts."""
    if product == "mlp_in":
        return [config.mlp_width] * 2
    query, shared = (heads * config.head_width for heads in (config.heads, config.key_value_heads))
    return [query, shared, shared]


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    with torch.device("meta"):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias}, assign=True)
    return layer


def adapter_of(tail: TailScorer, settings: LoraSettings) -> Adapter:
    """Return copies of what LoRA trained in ``tail``.

    Args:
        tail: After ``add_lora``; not merged yet.
        settings: Those it was added with.
    """
    config = tail.decoder.config
    assert isinstance(config, DecoderConfig)
    layers = {
        name: {
            kind: getattr(layer, kind)[_NAME].weight.detach().cpu().clone()
            for kind in ("lora_A", "lora_B", "lora_magnitude_vector")
            if _NAME in getattr(layer, kind)
        }
        for name, layer in _adapted(tail)
    }
    head = tail.head.weight.detach().cpu().clone()
    return Adapter(config=config, depth=tail.depth, settings=settings, layers=layers, head=head)


def _adapted(tail: TailScorer) -> Iterator[tuple[str, Any]]:
    for name, layer in tail.decoder.named_modules():
        if hasattr(layer, "base_layer"):
            yield name, layer


def merged(tail: TailScorer) -> TailScorer:
    """Return the plain tail that computes the same: its updates added to the weights, parts of products joined again.

    Args:
        tail: After ``add_lora``; its own weights change and it must not be used any more.
    """
    for _, layer in _adapted(tail):
        layer.merge()
    whole = tail.decoder
    part = make_part(whole.config, first=whole.first, blocks=len(whole.blocks), embeddings=False)
    part.load_state_dict({name: _merged_tensor(whole, name) for name in part.state_dict()}, assign=True)
    plain = TailScorer(part, tail.head.out_features, pooling=tail.pooling, kind=tail.kind)
    plain.head = tail.head
    return plain.eval().requires_grad_(False)


def _merged_tensor(whole: nn.Module, name: str) -> Tensor:
    path, _, kind = name.rpartition(".")
    module = whole.get_submodule(path)
    parts = module.children() if isinstance(module, Joined) else (module,)
    tensors = [getattr(getattr(part, "base_layer", part), kind).detach() for part in parts]
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)
