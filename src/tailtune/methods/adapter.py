"""LoRA's updates as peft keeps them: names of the reference library, so that they load onto its model.

``adapter_config.json`` and ``adapter_model.safetensors`` in a folder of their own, for the library's sequence
classifier with as many blocks as were kept.
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from tailtune.errors import ConfigError
from tailtune.methods.lora import Adapter, parts_of, peft_config, require_peft
from tailtune.methods.scorers import Pooling, own_pooling
from tailtune.models.families import FAMILIES
from tailtune.models.parts import Shape
from tailtune.models.shape import DecoderConfig
from tailtune.models.weights import head_by_head, weight_of

_PREFIX = "base_model.model."
_SUFFIXES = {"lora_A": "lora_A.weight", "lora_B": "lora_B.weight", "lora_magnitude_vector": "lora_magnitude_vector"}


def require_keepable(shape: Shape, pooling: Pooling) -> None:
    """Return if the reference library has a classifier that such an adapter fits.

    Args:
        shape: Of the model.
        pooling: Which tokens are read.

    Raises:
        ConfigError: If the classifier is not read at the last token of a decoder alone, as the library's are.
    """
    if not shape.causal or pooling != own_pooling(causal=True):
        read = f"an encoder, read by pooling {pooling}" if not shape.causal else f"read by pooling {pooling}"
        said = f"--keep-adapter: this classifier is {read}; transformers' are decoders read at their last token"
        raise ConfigError(said, hint="leave --keep-adapter out")


def write_adapter(adapter: Adapter, folder: Path, *, model: str) -> None:
    """Write the adapter and the head into ``folder``, which is made.

    Args:
        adapter: What LoRA trained.
        folder: Absent.
        model: What the model is called, recorded.
    """
    require_peft()
    tensors: dict[str, Tensor] = {f"{_PREFIX}score.weight": adapter.head}
    names = []
    for ours, layer in adapter.layers.items():
        names.append(_reference_name(ours, adapter.config))
        for kind, tensor in layer.items():
            tensors[f"{_PREFIX}{names[-1]}.{_SUFFIXES[kind]}"] = _stored(ours, kind, tensor, adapter.config)
    config = peft_config(
        adapter.settings,
        target_modules=names,
        task_type="SEQ_CLS",
        modules_to_save=["score"],
        base_model_name_or_path=model,
        fan_in_fan_out=any(weight.transposed for weight in FAMILIES[adapter.config.family].block_weights.values()),
        inference_mode=True,
    )
    folder.mkdir()
    config.save_pretrained(str(folder))
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "README.md").write_text(_readme(adapter, model), encoding="utf-8")


def _reference_name(ours: str, config: DecoderConfig) -> str:
    """The reference library's name of a product that we call "blocks.3.query_key_value.query"."""
    product, part = _product(ours, config)
    family = FAMILIES[config.family]
    name = weight_of(family, f"{product}.weight").names[part]
    return family.prefix + name.removesuffix(".weight")


def _product(ours: str, config: DecoderConfig) -> tuple[str, int]:
    """The whole product, and which of its parts is meant."""
    _, number, product, *part = ours.split(".")
    return f"blocks.{number}.{product}", parts_of(config, product).index(part[0]) if part else 0


def _stored(ours: str, kind: str, tensor: Tensor, config: DecoderConfig) -> Tensor:
    """As the reference library orders the outputs: some keep query, key and value head by head."""
    product, _ = _product(ours, config)
    if kind == "lora_A" or not weight_of(FAMILIES[config.family], f"{product}.weight").interleaved:
        return tensor.contiguous()
    return head_by_head(tensor, config).contiguous()


def _readme(adapter: Adapter, model: str) -> str:
    return f"""# Adapter of a text classifier

Updates of rank {adapter.settings.rank} for the first {adapter.depth} blocks of {model}, and the head, for peft:

    model = AutoModelForSequenceClassification.from_pretrained(
        MODEL, num_labels={len(adapter.head)}, num_hidden_layers={adapter.depth}
    )
    model = PeftModel.from_pretrained(model, "adapter")

A text is read at its last token. The bundle beside this folder holds the same classifier with its calibration.
"""
