"""Results of rows as files: one per setting, model, texts and seed, found again by what it depends on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tailtune.errors import ConfigError
from tailtune.experiments.settings import Row
from tailtune.experiments.splits import Texts
from tailtune.storage import canonical_json, read_json, sha256_bytes, write_json

Result = Mapping[str, Any]

# Rises when the same settings give other numbers.
FORMAT = 1


def identity(row: Row, texts: Texts, weights: str, seed: int) -> dict[str, Any]:
    """Return all that a result depends on: two rows of one setting share it.

    Args:
        row: Its setting counts, its name does not.
        texts: Under one split.
        weights: Hash of the pretrained model.
        seed: Of head and order.
    """
    return {
        "format": FORMAT,
        "setting": row.setting.as_json(),
        "weights": weights,
        "texts": texts.identity(),
        "seed": seed,
    }


def key_of(depends_on: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits: equal for equal identities."""
    return sha256_bytes(canonical_json(dict(depends_on)).encode())[:16]


def find(folder: Path, key: str) -> Path | None:
    """Return the file in ``folder`` with the result of that key; None where there is none."""
    return next(iter(sorted(folder.glob(f"*-{key}.json"))), None)


def write(folder: Path, row: Row, result: Result) -> Path:
    """Return the file in ``folder`` that now holds ``result``, whole or not at all."""
    split, seed = result["split"], result["seed"]
    path = folder / f"{split}-{row.name}-seed{seed}-{result['key']}.json"
    write_json(path, dict(result))
    return path


def read(file: Path) -> Result:
    """Return the result in ``file``.

    Raises:
        ConfigError: If it cannot be read, or was written by another version.
    """
    result: Result = read_json(file, ConfigError)
    if result.get("depends_on", {}).get("format") != FORMAT:
        raise ConfigError(f"{file} was written by another version", hint="remove it and run again")
    return result


def read_all(folder: Path) -> list[Result]:
    """Return every result in ``folder``, by file name.

    Raises:
        ConfigError: If there is none, or one cannot be read.
    """
    found = [read(file) for file in sorted(folder.glob("*-seed*.json"))]
    if not found:
        hint = "`tailtune experiments` runs them and writes there"
        raise ConfigError(f"--out {folder}: no results of experiments", hint=hint)
    return found
