"""Bundles of several classifiers, and of one without a backbone: they run alone, and a changed byte is refused."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.classifiers import (
    LABELS,
    backbone_member,
    blended_bundle,
    int8_bundle,
    ngram_member,
    ngrams_bundle,
    probe_bundle,
    ruled_bundle,
    several_blended_bundle,
    tail_bundle,
    with_scope,
    without_backbone,
)
from support.command_line import call, json_lines, process
from tailtune.bundle import Bundle, read_bundle, write_bundle
from tailtune.errors import BundleError
from tailtune.explain import explain
from tailtune.methods.blend import Blend
from tailtune.methods.members import BackboneMember
from tailtune.methods.scorers import NoScorer
from tailtune.predict import Predictor
from tailtune.storage import canonical_json, folder_bytes, sha256_bytes

TEXTS = ["WINNER!! claim your prize", "see you at 5", "", "x" * 500, "<|endoftext|>", "lunch now at home"]


def alone(llama: Path, bert: Path) -> Bundle:
    """Return a probe on ``bert`` in a bundle that holds nothing else of ``llama`` than its tokenizer."""
    made = replace(probe_bundle(llama), blend=Blend(weights=(0.0, 1.0), members=(backbone_member(bert),)))
    return without_backbone(made)


def beside(model: Path, member: BackboneMember) -> Bundle:
    """Return a probe on ``model`` with ``member``."""
    return replace(probe_bundle(model), blend=Blend(weights=(0.5, 0.5), members=(member,)))


KINDS: dict[str, Callable[[Path, Path], Bundle]] = {
    "blend": blended_bundle,
    "several": several_blended_bundle,
    "ngrams": lambda llama, bert: ngrams_bundle(llama),
    "other model": alone,
    "tail as a member": lambda llama, bert: beside(bert, backbone_member(llama, tail_bundle)),
    "int8 as a member": lambda llama, bert: beside(bert, backbone_member(llama, int8_bundle)),
    "ruled": lambda llama, bert: replace(ruled_bundle(llama), blend=Blend(weights=(1, 0.5), members=(ngram_member(),))),
}


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest, tiny_llama: Path, tiny_bert: Path) -> Predictor:
    return Predictor(KINDS[request.param](tiny_llama, tiny_bert), device="cpu")


@pytest.fixture
def saved(made: Predictor, tmp_path: Path) -> Path:
    made.save(tmp_path / "spam", extra={"metrics.json": "{}\n"})
    return tmp_path / "spam"


def test_a_reloaded_classifier_answers_the_same(made: Predictor, saved: Path) -> None:
    """From the folder alone; in a format that older versions refuse."""
    loaded = Predictor.load(saved)
    np.testing.assert_allclose(loaded.predict_proba(TEXTS), made.predict_proba(TEXTS), atol=1e-6)
    loaded.check_golden()
    assert json.loads((saved / "bundle.json").read_text())["format_version"] == 6
    assert np.ptp(made.predict_proba(TEXTS), axis=0).max() > 0.01
    for text, prediction in zip(TEXTS, loaded.predict(TEXTS), strict=True):
        assert tuple(prediction.probabilities) == LABELS.names
        assert prediction.tokens_total == max(1, len(made.bundle.tokenizer.encode([text]).ids)) or prediction.truncated


def test_company_and_order_change_nothing(made: Predictor) -> None:
    """Alone, together and shuffled."""
    together = made.predict_proba(TEXTS)
    order = np.random.default_rng(3).permutation(len(TEXTS))
    np.testing.assert_allclose(made.predict_proba([TEXTS[at] for at in order]), together[order], atol=1e-5)
    for at, text in enumerate(TEXTS):
        np.testing.assert_allclose(made.predict_proba([text])[0], together[at], atol=1e-5)
    assert made.predict([]) == []


def test_threads_get_the_answers_of_one(made: Predictor) -> None:
    """One predictor serves several threads at once."""
    expected, found = made.predict_proba(TEXTS), []
    threads = [threading.Thread(target=lambda: found.append(made.predict_proba(TEXTS))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for rows in found:
        np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_writing_twice_gives_the_same_bytes(made: Predictor, tmp_path: Path) -> None:
    """A bundle is a function of the classifier, its members included."""
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_bundle(made.bundle, tmp_path / name, extra={})
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        found.append({path.relative_to(tmp_path / name).as_posix(): path.read_bytes() for path in files})
    assert found[0] == found[1]


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_any_changed_file_is_refused(saved: Path, damage: str) -> None:
    """Of the members too, however deep it lies: one line that names the file."""
    for file in sorted(path for path in saved.rglob("*") if path.is_file()):
        data = file.read_bytes()
        if damage == "remove":
            file.unlink()
        else:
            middle = len(data) // 2
            changed = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
            file.write_bytes(changed if damage == "flip" else data[:-3])
        with pytest.raises(BundleError) as caught:
            Predictor.load(saved)
        assert "\n" not in str(caught.value)
        assert file.name in str(caught.value) or file == saved / "bundle.json"
        file.write_bytes(data)
    Predictor.load(saved)


def test_a_blend_is_the_weighted_sum_of_what_its_parts_say(tiny_llama: Path, tiny_bert: Path) -> None:
    """Of log-probabilities: those of the tail, of letters, and of the probe on the other model."""
    whole = Predictor(blended_bundle(tiny_llama, tiny_bert), device="cpu").predict_proba(TEXTS)
    parts = [tail_bundle(tiny_llama), ngrams_bundle(tiny_llama), probe_bundle(tiny_bert)]
    logs = [np.log(Predictor(part, device="cpu").predict_proba(TEXTS)) for part in parts]
    raised = np.exp(0.5 * logs[0] + 0.3 * logs[1] + 0.4 * logs[2])
    np.testing.assert_allclose(whole, raised / raised.sum(axis=1, keepdims=True), atol=1e-6)


def test_all_weight_on_the_own_scorer_changes_nothing(tiny_llama: Path, tiny_bert: Path) -> None:
    """The same probabilities as without members."""
    made = tail_bundle(tiny_llama)
    members = (ngram_member(), backbone_member(tiny_bert))
    blended = replace(made, blend=Blend(weights=(1.0, 0.0, 0.0), members=members))
    plain, same = (Predictor(bundle, device="cpu").predict_proba(TEXTS) for bundle in (made, blended))
    np.testing.assert_allclose(same, plain, atol=1e-7)


def test_without_a_backbone_nothing_of_the_model_is_saved(tiny_llama: Path, tmp_path: Path) -> None:
    """But its tokenizer: texts are counted, and cut, as before."""
    Predictor(ngrams_bundle(tiny_llama), device="cpu").save(tmp_path / "small")
    Predictor(probe_bundle(tiny_llama), device="cpu").save(tmp_path / "large")
    assert folder_bytes(tmp_path / "small") < 0.2 * folder_bytes(tmp_path / "large")
    loaded = read_bundle(tmp_path / "small")
    assert isinstance(loaded.scorer, NoScorer)
    assert not loaded.decoder.state_dict()
    assert json.loads((tmp_path / "small" / "bundle.json").read_text())["classifier"]["method"] == "ngrams"


def test_strange_texts_are_told_without_the_own_scorer(tiny_llama: Path) -> None:
    """Where scope was asked for the backbone is kept, and read for nothing else."""
    plain = with_scope(probe_bundle(tiny_llama))
    blended = replace(plain, blend=Blend(weights=(0.0, 1.0), members=(ngram_member(),)))
    ours, expected = (Predictor(bundle, device="cpu").predict(TEXTS) for bundle in (blended, plain))
    for got, other in zip(ours, expected, strict=True):
        assert got.out_of_scope == pytest.approx(other.out_of_scope, abs=1e-6)
    counted = Predictor(ngrams_bundle(tiny_llama), device="cpu").predict_proba(TEXTS)
    np.testing.assert_allclose([list(each.probabilities.values()) for each in ours], counted, atol=1e-6)


def test_words_are_explained_by_the_whole_blend(tiny_llama: Path, tiny_bert: Path) -> None:
    """Each change is what leaving the word out does to the blend's own probability."""
    predictor = Predictor(blended_bundle(tiny_llama, tiny_bert), device="cpu")
    text = "lunch prize now"
    found = explain(predictor, text, label="spam")
    assert [each.text for each in found] == ["lunch", "prize", "now"]
    base, *without = predictor.predict_proba([text, "prize now", "lunch now", "lunch prize "])[:, 2]
    np.testing.assert_allclose([each.change for each in found], base - np.array(without), atol=1e-5)


def test_another_scorer_stands_alone(tiny_llama: Path, tiny_bert: Path) -> None:
    """As for saying why a label is doubted: no members, no rules."""
    predictor = Predictor(blended_bundle(tiny_llama, tiny_bert), device="cpu")
    other = predictor.with_scorer(predictor.bundle.scorer)
    expected = Predictor(tail_bundle(tiny_llama), device="cpu").predict_proba(TEXTS)
    np.testing.assert_allclose(other.predict_proba(TEXTS), expected, atol=1e-6)


def _edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest as somebody would who knows how it is signed."""
    manifest = json.loads((folder / "bundle.json").read_text())
    del manifest["digest"]
    change(manifest)
    manifest["digest"] = sha256_bytes(canonical_json(manifest).encode())
    (folder / "bundle.json").write_text(canonical_json(manifest))


@pytest.mark.parametrize(
    "name", ["../outside", "member-1/../../outside", "member-1/backbone.safetensors", "/etc/passwd"]
)
def test_no_file_outside_is_looked_at(tiny_llama: Path, tiny_bert: Path, tmp_path: Path, name: str) -> None:
    """Names in a manifest lead to files of the folder and to members' manifests, to nothing else."""
    Predictor(blended_bundle(tiny_llama, tiny_bert), device="cpu").save(tmp_path / "blend")
    (tmp_path / "outside").write_text("x")
    record = {"bytes": 1, "sha256": sha256_bytes(b"x")}
    _edit(tmp_path / "blend", lambda manifest: manifest["files"].update({name: record}))
    with pytest.raises(BundleError, match="is missing from the bundle"):
        Predictor.load(tmp_path / "blend")


def test_a_member_must_be_listed_and_fit(tiny_llama: Path, tiny_bert: Path, tmp_path: Path) -> None:
    """A member whose files the manifest does not answer for, of an unknown kind, or of other classes is refused."""
    Predictor(blended_bundle(tiny_llama, tiny_bert), device="cpu").save(tmp_path / "blend")

    def refused(change: Callable[[dict[str, Any]], None], said: str) -> None:
        shutil.copytree(tmp_path / "blend", tmp_path / "odd")
        _edit(tmp_path / "odd", change)
        with pytest.raises(BundleError, match=said):
            Predictor.load(tmp_path / "odd")
        shutil.rmtree(tmp_path / "odd")

    def unlisted(manifest: dict[str, Any]) -> None:
        del manifest["files"]["member-2/bundle.json"]

    def unknown(manifest: dict[str, Any]) -> None:
        manifest["classifier"]["members"][0]["method"] = "oracle"

    def renamed(manifest: dict[str, Any]) -> None:
        manifest["id2label"] = {"0": "a", "1": "b", "2": "c"}

    def negative(manifest: dict[str, Any]) -> None:
        manifest["classifier"]["weights"][1] = -1.0

    refused(unlisted, "does not list member-2/bundle.json")
    refused(unknown, "member 'oracle' of a blend is not known")
    refused(renamed, "is no member of this classifier")
    refused(negative, "does not hold a classifier")


def test_the_command_line_answers_with_a_blend(
    tiny_llama: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Predict, with words explained, and texts that arrive one by one."""
    predictor = Predictor(blended_bundle(tiny_llama, tiny_bert), device="cpu")
    predictor.save(tmp_path / "blend")
    expected = predictor.predict_proba(["lunch now", "prize now"])
    found = json_lines(call(capsys, "predict", tmp_path / "blend", "lunch now", "prize now", "--explain", "--json").out)
    command = [sys.executable, "-m", "tailtune.cli", "predict", str(tmp_path / "blend"), "-", "--json"]
    streamed = json_lines(process(command, input="lunch now\nprize now\n").out)
    for answers in (found, streamed):
        np.testing.assert_allclose([list(each["probabilities"].values()) for each in answers], expected, atol=1e-5)
    assert [word["text"] for word in found[0]["highlights"]] == ["lunch", "now"]
