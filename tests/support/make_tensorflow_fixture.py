"""A tiny GPT-2 in the files of OpenAI's release, written by TensorFlow itself; run once, its files are committed.

    python -m venv tf && tf/bin/pip install tensorflow-cpu==2.21.0 tokenizers
    PYTHONPATH=tests tf/bin/python tests/support/make_tensorflow_fixture.py

``tests/fixtures/openai_gpt2`` has them in one shard, ``openai_gpt2_shards`` in three. Left out is ``model.ckpt.meta``,
the graph, which no reader of weights opens.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.tiny_models import END_OF_TEXT, tiny_tokenizer

FOLDER = Path(__file__).resolve().parent.parent / "fixtures"
ONE, SHARDS = FOLDER / "openai_gpt2", FOLDER / "openai_gpt2_shards"
HYPERPARAMETERS = {"n_vocab": 300, "n_ctx": 32, "n_embd": 16, "n_head": 4, "n_layer": 2}

Arrays = dict[str, NDArray[np.float32]]


def arrays() -> Arrays:
    """Return the weights under OpenAI's names, the same wherever this runs: an integer hash of name and place."""
    width, blocks = HYPERPARAMETERS["n_embd"], HYPERPARAMETERS["n_layer"]
    shapes: dict[str, tuple[int, ...]] = {
        "model/wte": (HYPERPARAMETERS["n_vocab"], width),
        "model/wpe": (HYPERPARAMETERS["n_ctx"], width),
        **{f"model/ln_f/{part}": (width,) for part in ("g", "b")},
    }
    for block in range(blocks):
        products = {"attn/c_attn": (width, 3 * width), "attn/c_proj": (width, width)}
        products |= {"mlp/c_fc": (width, 4 * width), "mlp/c_proj": (4 * width, width)}
        for name, (rows, columns) in products.items():
            shapes[f"model/h{block}/{name}/w"] = (1, rows, columns)
            shapes[f"model/h{block}/{name}/b"] = (columns,)
        for name in ("ln_1", "ln_2"):
            shapes |= {f"model/h{block}/{name}/{part}": (width,) for part in ("g", "b")}
    return {name: _values(name, shape) for name, shape in shapes.items()}


def _values(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    salt = sum(ord(sign) * 31**place for place, sign in enumerate(name))
    numbers = (np.arange(1, np.prod(shape) + 1, dtype=np.uint64) * np.uint64(2654435761) + salt % 2**32) % 2**32
    spread = (numbers.astype(np.float64) / 2**31 - 1).reshape(shape) * 0.6
    values: NDArray[np.float64] = spread + (1.0 if name.endswith("/g") else 0.0)
    return values.astype(np.float32)


def _write_tokenizer(folder: Path) -> None:
    """OpenAI's order: bytes, merged pieces, and the end-of-text token last."""
    model = json.loads(tiny_tokenizer(vocabulary=HYPERPARAMETERS["n_vocab"]).to_str())["model"]
    pieces = sorted((piece for piece in model["vocab"] if piece != END_OF_TEXT), key=model["vocab"].__getitem__)
    numbers = {piece: number for number, piece in enumerate([*pieces, END_OF_TEXT])}
    (folder / "encoder.json").write_text(json.dumps(numbers), encoding="utf-8")
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (folder / "vocab.bpe").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")


def _save(tf: Any, folder: Path, *, devices: int) -> None:
    with tf.Graph().as_default():
        for place, (name, array) in enumerate(arrays().items()):
            with tf.device(f"/cpu:{place // 2 % devices}"):
                tf.get_variable(name, initializer=array, use_resource=False)
        tf.get_variable("global_step", initializer=np.int64(7), use_resource=False)
        saver = tf.train.Saver(sharded=devices > 1, save_relative_paths=True)
        with tf.Session(config=tf.ConfigProto(device_count={"CPU": devices})) as session:
            session.run(tf.global_variables_initializer())
            saver.save(session, str(folder / "model.ckpt"), write_meta_graph=False)


def main() -> None:
    """Write both folders anew."""
    import tensorflow.compat.v1 as tf

    for folder, devices in ((ONE, 1), (SHARDS, 2)):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "hparams.json").write_text(json.dumps(HYPERPARAMETERS), encoding="utf-8")
        _write_tokenizer(folder)
        _save(tf, folder, devices=devices)


if __name__ == "__main__":
    main()
