"""The reference library: imported when first needed, its configs read without code, its talk kept off the screen."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from tailtune.errors import ModelError, SetupError

NEEDED = "pip install 'tailtune[transformers]'"
_OLDEST = (4, 57)
# Settings that say how the library computes, fetches or runs code, not what the model is. Private ones have been a way
# to make it run code (CVE-2026-4372).
_IGNORED = {
    "architectures", "attn_implementation", "auto_map", "custom_pipelines", "dtype", "experts_implementation",
    "fusion_config", "gradient_checkpointing", "id2label", "kernel_config", "label2id", "output_attentions",
    "output_hidden_states", "return_dict", "torch_dtype", "transformers_version", "transformers_weights",
    "use_cache", "use_kernels",
}  # fmt: skip
# What a model that does not fit makes the library raise, besides what it says itself.
UNFIT = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    RuntimeError,
    StopIteration,
    TypeError,
    ValueError,
)


@functools.cache
def transformers() -> Any:
    """Return the library.

    Raises:
        SetupError: If it is not installed, or too old.
    """
    try:
        import transformers as library
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == "transformers"
        what = "is not installed" if absent else f"cannot be imported: {error}"
        raise SetupError(f"the package transformers {what}", hint=NEEDED) from error
    found = tuple(int(part) for part in library.__version__.split(".")[:2])
    if found < _OLDEST:
        raise SetupError(f"transformers {library.__version__} is too old, 4.57 is needed", hint=NEEDED)
    return library


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep the library's warnings and progress bars off the screen; what matters of them is an error here."""
    logging = transformers().utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def harmless(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a parsed config.json with nothing left in it but what the model is."""
    kept = {key: value for key, value in raw.items() if key not in _IGNORED and not key.startswith("_")}
    return {key: harmless(value) if isinstance(value, Mapping) else value for key, value in kept.items()}


def library_config(reference: Mapping[str, Any]) -> Any:
    """Return the library's own config object of a model.

    Args:
        reference: From ``harmless``.

    Raises:
        ModelError: If the library cannot read it.
        SetupError: If it is not installed.
    """
    library = transformers()
    from huggingface_hub.errors import StrictDataclassError

    model_type = reference["model_type"]
    try:
        with quietly():
            config = library.CONFIG_MAPPING[model_type].from_dict(dict(reference))
    except (*UNFIT, StrictDataclassError) as error:
        raise ModelError(f"config.json: transformers cannot read this {model_type}: {first_line(error)}") from error
    config.use_cache = False
    return config


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, with its kind."""
    said = (str(error).strip().splitlines() or [""])[0][:200]
    return f"{type(error).__name__}: {said}"
