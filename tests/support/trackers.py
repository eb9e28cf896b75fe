"""What trackers wrote, read back from their files: MLflow's database, the log of wandb, TensorBoard's event file."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# The log of wandb is LevelDB's: a header of seven bytes, then blocks, in them pieces of records.
_BLOCK, _HEADER = 32768, 7
_FULL, _LAST = 1, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What one tracker knows of a run.

    Attributes:
        parameters: Name -> value, as text.
        curves: Name -> (step, value), ascending.
        files: Names of what lies beside it.
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    curves: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)
    files: frozenset[str] = frozenset()


def _curves(points: list[tuple[str, int, float]]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for name, step, value in sorted(points, key=lambda point: point[1]):
        found.setdefault(name, []).append((step, value))
    return found


def mlflow_told(database: Path) -> Told:
    """Return what the one run in MLflow's ``database`` holds; its artifacts lie where the run says."""
    with closing(sqlite3.connect(database)) as connection:
        ((status, artifacts),) = connection.execute("select status, artifact_uri from runs").fetchall()
        assert status == "FINISHED"
        points = connection.execute("select key, step, value from metrics").fetchall()
        parameters = dict(connection.execute("select key, value from params").fetchall())
    folder = Path(str(artifacts).removeprefix("file://"))
    return Told(parameters=parameters, curves=_curves(points), files=frozenset(file.name for file in folder.iterdir()))


def wandb_told(folder: Path) -> Told:
    """Return what the one offline run below ``folder`` holds."""
    import json

    from wandb.proto.wandb_internal_pb2 import Record

    (log,) = folder.rglob("*.wandb")
    parameters: dict[str, str] = {}
    points: list[tuple[str, int, float]] = []
    files: set[str] = set()
    for payload in _log_records(log.read_bytes()):
        record: Any = Record()
        record.ParseFromString(payload)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            parameters |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        if kind == "history":
            items = [(item.key or "/".join(item.nested_key), item.value_json) for item in record.history.item]
            values = {name: json.loads(value) for name, value in items}
            step = record.history.step.num
            points += [(name, step, value) for name, value in values.items() if not name.startswith("_")]
        if kind == "files":
            files |= {file.path for file in record.files.files}
    return Told(
        parameters={name: value for name, value in parameters.items() if not name.startswith("_")},
        curves=_curves(points),
        files=frozenset(files),
    )


def _log_records(content: bytes) -> Iterator[bytes]:
    at, whole = _HEADER, b""
    while at + _HEADER <= len(content):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + _HEADER])
        whole += content[at + _HEADER : at + _HEADER + length]
        at += _HEADER + length
        if kind in (_FULL, _LAST):
            yield whole
            whole = b""


def tensorboard_told(folder: Path) -> Told:
    """Return what TensorBoard's own reader finds in ``folder``."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    points = [(name, event.step, event.value) for name in events.Tags()["scalars"] for event in events.Scalars(name)]
    ((table,),) = (event.tensor_proto.string_val for event in events.Tensors("config/text_summary"))
    rows = (line.strip("| ").partition(" | ") for line in table.decode().splitlines()[2:])
    return Told(parameters={name: value for name, _, value in rows}, curves=_curves(points))
