"""How long texts are in the tokens of a model, and which of them it cannot read to the end."""

from __future__ import annotations

import numpy as np

from tailtune.data.dataset import Dataset, Finding, name_rows
from tailtune.models.parts import read_shape
from tailtune.models.sources.catalog import resolve
from tailtune.progress import Progress, silent
from tailtune.storage import read_json
from tailtune.text.tokenizer import Tokenizer

PERCENTILES = (50, 90, 95, 99)


def length_findings(dataset: Dataset, model: str, progress: Progress = silent) -> tuple[Finding, ...]:
    """Return the percentiles of the lengths in tokens, and the texts that ``model`` would cut.

    Args:
        dataset: Any number of rows.
        model: Catalogue name, local folder or file, or hub id; only its config and tokenizer are read.
        progress: Told about bytes fetched.

    Raises:
        ConfigError: If there is no such model.
        ModelError: If its config or tokenizer cannot be used.
        SetupError: If it cannot be fetched.
    """
    if not len(dataset):
        return ()
    found = resolve(model, progress=progress)
    context = read_shape(read_json(found.path / "config.json")).context
    tokens = Tokenizer.of_model(found.path, max_tokens=context).encode(dataset.texts)
    lengths = tokens.full_lengths
    shares = np.percentile(lengths, PERCENTILES, method="inverted_cdf").tolist()
    told = ", ".join(f"{share} % at most {length:,}" for share, length in zip(PERCENTILES, shares, strict=True))
    message = f"tokens of {found.name}: {told}, longest {lengths.max():,}; the model reads {context:,}"
    findings = [Finding(kind="lengths", message=message)]
    if tokens.truncated.any():
        rows = tuple(dataset.rows[at] for at in np.flatnonzero(tokens.truncated))
        findings.append(
            Finding(
                kind="truncated_texts",
                message=f"{len(rows)} texts are longer than the {context:,} tokens the model reads: {name_rows(rows)}",
                rows=rows,
                severity="warning",
                means="what comes after that is not read, in training and in service",
                mend="train with --long windows, take a --model that reads more, or keep of these texts what matters",
            )
        )
    return tuple(findings)
