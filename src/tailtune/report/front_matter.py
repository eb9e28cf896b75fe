"""The YAML front matter of a model card, as the hub reads it: what it is, and its test result as model-index."""

from __future__ import annotations

import json
import re

from tailtune.report.words import Metrics, one_line, part


def front_matter(metrics: Metrics) -> str:
    """Return the YAML block that a model card begins with, the test result as model-index.

    Args:
        metrics: The mapping written to metrics.json. ``model.hub_id``, where present, becomes ``base_model``.
    """
    lines = ["---", "library_name: tailtune", "pipeline_tag: text-classification"]
    if hub_id := part(metrics, "model").get("hub_id"):
        lines.append(f"base_model: {_yaml(hub_id)}")
    test = part(metrics, "test")
    if kinds := [kind for kind, key in (("accuracy", "accuracy"), ("f1", "macro_f1")) if key in test]:
        lines += ["metrics:", *(f"- {kind}" for kind in kinds), *_model_index(metrics, test)]
    return "\n".join([*lines, "---"])


def _model_index(metrics: Metrics, test: Metrics) -> list[str]:
    data = part(metrics, "data")
    source = str(data.get("source", "labelled texts"))
    kind = re.sub(r"[^a-z0-9]+", "-", source.lower()).strip("-") or "labelled-texts"
    measured = [
        ("accuracy", "Accuracy", "accuracy"),
        ("f1", "Micro F1", "micro_f1"),
        ("f1", "Macro F1", "macro_f1"),
        ("average_precision", "Mean average precision", "mean_average_precision"),
        ("log_loss", "Log loss", "log_loss"),
        ("expected_calibration_error", "Expected calibration error", "ece"),
        ("brier_score", "Brier score", "brier"),
    ]
    lines = ["model-index:", f"- name: {_yaml(f'tailtune-{kind}')}", "  results:"]
    lines += ["  - task:", "      type: text-classification", "      name: Text Classification"]
    lines += ["    dataset:", f"      type: {_yaml(kind)}", f"      name: {_yaml(source)}", "      split: test"]
    if "sha256" in data:
        lines += ["      args:", f"        sha256: {_yaml(data['sha256'])}"]
    lines.append("    metrics:")
    for type_name, title, key in measured:
        if test.get(key) is not None:
            # Fixed notation: YAML 1.1 reads 1e-05 as a string.
            lines += [f"    - type: {type_name}", f"      value: {test[key]:.6f}", f"      name: {title}"]
    return lines


def _yaml(text: object) -> str:
    """Return ``text`` on one line as a double-quoted YAML scalar; of printable text JSON's quoting is YAML's too."""
    return json.dumps(one_line(text), ensure_ascii=False)
