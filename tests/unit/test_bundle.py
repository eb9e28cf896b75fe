"""A bundle runs alone, answers as before, and refuses to load once a byte of it has changed."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from support.classifiers import (
    LABELS,
    guided_bundle,
    int8_bundle,
    pooled_tail_bundle,
    probe_bundle,
    reading,
    ruled_bundle,
    several_bundle,
    tail_bundle,
    windows_bundle,
    words_bundle,
)
from support.parts import full_bundle
from tailtune.bundle import FORMAT, Bundle, read_bundle, write_bundle
from tailtune.errors import BundleError, SetupError
from tailtune.methods.scorers import Pooling, ProbeScorer, TailScorer
from tailtune.models.int8 import Precision, to_int8
from tailtune.predict import GOLDEN_TEXTS, Predictor
from tailtune.rules import Rules, Scaling
from tailtune.storage import canonical_json, sha256_bytes
from tailtune.template import Template
from tailtune.text.tokenizer import Tokenizer
from tailtune.text.windows import Kind, LongRule

TEXTS = ["WINNER!! claim your prize", "see you at 5", "", "x" * 500, "<|endoftext|>"]


KINDS = [probe_bundle, tail_bundle, pooled_tail_bundle, int8_bundle, ruled_bundle, windows_bundle]


@pytest.fixture(params=KINDS, ids=["probe", "tail", "pooled", "int8", "ruled", "windows"])
def made(request: pytest.FixtureRequest, tiny_llama: Path) -> Predictor:
    make: Callable[[Path], Bundle] = request.param
    return Predictor(make(tiny_llama), device="cpu")


@pytest.fixture
def saved(made: Predictor, tmp_path: Path) -> Path:
    made.save(tmp_path / "spam", extra={"metrics.json": "{}\n"})
    return tmp_path / "spam"


def test_a_reloaded_classifier_answers_the_same(made: Predictor, saved: Path) -> None:
    """Same probabilities, labels in the same order, from the folder alone."""
    loaded = Predictor.load(saved)
    assert loaded.labels == LABELS.names
    np.testing.assert_allclose(loaded.predict_proba(TEXTS), made.predict_proba(TEXTS), atol=1e-6)
    texts = [text for text, _ in loaded.bundle.golden]
    assert texts[: len(GOLDEN_TEXTS)] == list(GOLDEN_TEXTS)
    in_windows = loaded.bundle.tokenizer.long.kind == "windows"
    assert (max(each.windows for each in loaded.predict(texts)) > 1) == in_windows
    loaded.check_golden()


def test_blocks_above_the_cut_are_not_in_the_bundle(saved: Path) -> None:
    """Four blocks in the model; three or fewer in the bundle, and no final norm below the cut."""
    manifest = json.loads((saved / "bundle.json").read_text())
    loaded = Predictor.load(saved)
    assert len(loaded.bundle.decoder.blocks) == manifest["cut"] < 4
    assert loaded.bundle.decoder.final_norm is None
    assert loaded.bundle.scorer.depth == 3


def test_int8_takes_less_room(tiny_llama: Path, tmp_path: Path) -> None:
    """The manifest names the precision; the file is a good third of fp32; an unknown precision is refused."""
    sizes = {}
    for make in (probe_bundle, int8_bundle):
        Predictor(make(tiny_llama), device="cpu").save(tmp_path / make.__name__)
        sizes[make.__name__] = (tmp_path / make.__name__ / "backbone.safetensors").stat().st_size
    assert sizes["int8_bundle"] < 0.45 * sizes["probe_bundle"]
    assert Predictor.load(tmp_path / "int8_bundle").bundle.precision == "int8"
    bundle = replace(int8_bundle(tiny_llama), precision=cast("Precision", "int2"))
    (tmp_path / "odd").mkdir()
    write_bundle(bundle, tmp_path / "odd", extra={})
    with pytest.raises(BundleError, match="precision 'int2' is not known"):
        Predictor.load(tmp_path / "odd")


def test_predictions_say_what_was_read(made: Predictor) -> None:
    """Tokens and cuts are counted; probabilities are named and sum to 1; a blank text is one token."""
    predictions = made.predict(TEXTS)
    assert predictions[2].tokens == predictions[2].tokens_total == 1
    if made.bundle.tokenizer.long.kind == "windows":
        assert not any(prediction.truncated for prediction in predictions)
        assert (predictions[3].tokens, predictions[3].tokens_total, predictions[3].windows) == (500, 500, 62)
    else:
        assert [prediction.truncated for prediction in predictions] == [False, False, False, True, False]
        assert (predictions[3].tokens, predictions[3].tokens_total, predictions[3].windows) == (64, 500, 1)
    assert predictions[4].tokens > 1, "a spelled-out special token is ordinary text"
    for prediction in predictions:
        assert tuple(prediction.probabilities) == LABELS.names
        assert sum(prediction.probabilities.values()) == pytest.approx(1.0)
        assert prediction.probabilities[prediction.label] == prediction.confidence
        if prediction.rule is None:
            assert prediction.confidence == max(prediction.probabilities.values())
    assert made.predict([]) == []


def changed(folder: Path, **values: object) -> None:
    """Write other values into the manifest, with the digest that belongs to them."""
    manifest = json.loads((folder / "bundle.json").read_text()) | values
    manifest.pop("digest")
    manifest["digest"] = sha256_bytes(canonical_json(manifest).encode())
    (folder / "bundle.json").write_text(canonical_json(manifest), encoding="utf-8")


@pytest.mark.parametrize("make", [words_bundle, guided_bundle])
def test_a_template_and_words_are_saved(
    make: Callable[[Path], Bundle], tiny_llama: Path, tiny_gpt2: Path, tmp_path: Path
) -> None:
    """Format 6; texts are read as the template makes them, with the same answers; int8 blocks below work as well."""
    for name, model in (("llama", tiny_llama), ("gpt2", tiny_gpt2)):
        made = Predictor(make(model), device="cpu")
        made.save(tmp_path / name)
        loaded = Predictor.load(tmp_path / name)
        np.testing.assert_allclose(loaded.predict_proba(TEXTS), made.predict_proba(TEXTS), atol=1e-6)
        assert loaded.bundle.tokenizer.template == made.bundle.tokenizer.template
        manifest = json.loads((tmp_path / name / "bundle.json").read_text())
        assert manifest["format_version"] == 6
        assert manifest["template"] == r"Message: {text}\nThis message is"
    exact = make(tiny_llama)
    rounded = replace(exact, decoder=to_int8(exact.decoder), precision="int8")
    Predictor(rounded, device="cpu").save(tmp_path / "int8")
    answers = Predictor.load(tmp_path / "int8").predict_proba(TEXTS)
    np.testing.assert_allclose(answers, Predictor(exact, device="cpu").predict_proba(TEXTS), atol=0.2)


def test_only_what_needs_the_newest_format_has_it(tiny_llama: Path, tmp_path: Path) -> None:
    """A template alone does; words that lost a class or a broken template are refused in one line."""
    plain = probe_bundle(tiny_llama)
    around = Tokenizer(plain.tokenizer.json_bytes, max_tokens=64, template=Template.parse("Say: {text}"))
    for name, bundle, number in (("plain", plain, 2), ("around", replace(plain, tokenizer=around), 6)):
        Predictor(bundle, device="cpu").save(tmp_path / name)
        manifest = json.loads((tmp_path / name / "bundle.json").read_text())
        assert manifest["format_version"] == number
        assert ("template" in manifest) == (number == 6)
    changed(tmp_path / "around", template="Say: {text")
    with pytest.raises(BundleError, match=r"does not hold a classifier: --template 'Say: \{text'"):
        Predictor.load(tmp_path / "around")
    Predictor(words_bundle(tiny_llama), device="cpu").save(tmp_path / "words")
    manifest = json.loads((tmp_path / "words" / "bundle.json").read_text())
    changed(tmp_path / "words", classifier={**manifest["classifier"], "owners": [0, 0, 1, 1, 1]})
    with pytest.raises(BundleError, match=r"words of classes \[0, 1\], not of all 3"):
        Predictor.load(tmp_path / "words")


@pytest.mark.parametrize(
    "name", ["backbone.safetensors", "classifier.safetensors", "tokenizer.json", "metrics.json", "bundle.json"]
)
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_any_changed_file_is_refused(saved: Path, name: str, damage: str) -> None:
    """One flipped bit, a shorter file or a missing one: one line that names the file."""
    file = saved / name
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif damage == "truncate":
        file.write_bytes(data[:-3])
    else:
        file.unlink()
    with pytest.raises(BundleError) as caught:
        Predictor.load(saved)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4
    if not (name == "bundle.json" and damage == "remove"):
        assert name in str(caught.value)


def test_an_edited_tokenizer_is_refused(saved: Path) -> None:
    """Swapping two vocabulary entries keeps the length and flips predictions; the hash sees it."""
    file = saved / "tokenizer.json"
    text = file.read_text(encoding="utf-8")
    tokenizer = json.loads(text)
    first, second = sorted(tokenizer["model"]["vocab"], key=len)[:2]
    edited = text.replace(f'"{first}": ', '"\0": ').replace(f'"{second}": ', f'"{first}": ')
    file.write_text(edited.replace('"\0": ', f'"{second}": '), encoding="utf-8")
    with pytest.raises(BundleError, match=r"tokenizer\.json: (sha256|\d+ bytes)"):
        Predictor.load(saved)


def test_an_edited_manifest_is_refused(saved: Path) -> None:
    """Renaming a label in bundle.json changes answers, so it is not accepted."""
    file = saved / "bundle.json"
    file.write_text(file.read_text().replace('"spam"', '"eggs"'))
    with pytest.raises(BundleError, match=r"bundle\.json: was changed"):
        Predictor.load(saved)


def test_rules_are_applied_after_loading(tiny_llama: Path, tmp_path: Path) -> None:
    """The loaded classifier calibrates, decides and abstains; such bundles alone have a format old readers refuse."""
    plain, ruled = Predictor(probe_bundle(tiny_llama), device="cpu"), Predictor(ruled_bundle(tiny_llama), device="cpu")
    formats = {}
    for name, predictor in (("plain", plain), ("ruled", ruled)):
        predictor.save(tmp_path / name)
        formats[name] = json.loads((tmp_path / name / "bundle.json").read_text())["format_version"]
    assert formats == {"plain": 2, "ruled": 3}
    loaded, rules = Predictor.load(tmp_path / "ruled"), ruled.bundle.rules
    assert loaded.bundle.rules == rules
    rows = rules.apply(plain.predict_proba(TEXTS))
    np.testing.assert_allclose(loaded.predict_proba(TEXTS), rows, atol=1e-6)
    assert np.abs(rows - plain.predict_proba(TEXTS)).max() > 0.01
    for row, prediction in zip(rows, loaded.predict(TEXTS), strict=True):
        assert (prediction.label == "spam") == (row[2] >= 0.3)
        assert prediction.rule == "spam at 0.3 or more"
        assert prediction.abstained == (prediction.confidence <= 0.5)
        held = row >= min(0.25, row.max())
        assert set(prediction.labels) == {name for name, inside in zip(LABELS.names, held, strict=True) if inside}


@pytest.mark.parametrize(
    "rule", [LongRule(kind="truncate-head"), LongRule(kind="windows", stride=5, merge="max"), LongRule(kind="windows")]
)
def test_the_rule_for_long_texts_is_kept(tiny_llama: Path, tmp_path: Path, rule: LongRule) -> None:
    """Saved with its stride settled, in a format that earlier readers refuse; answered by after loading."""
    made = Predictor(reading(probe_bundle(tiny_llama), rule), device="cpu")
    made.save(tmp_path / "long")
    manifest = json.loads((tmp_path / "long" / "bundle.json").read_text())
    assert manifest["format_version"] == 4
    assert manifest["long"].get("stride") == ({"windows": rule.stride or 8}.get(rule.kind))
    loaded = Predictor.load(tmp_path / "long", device="cpu")
    assert loaded.bundle.tokenizer.long == made.bundle.tokenizer.long
    np.testing.assert_allclose(loaded.predict_proba(TEXTS), made.predict_proba(TEXTS), atol=1e-6)
    plain = Predictor(reading(probe_bundle(tiny_llama), LongRule()), device="cpu")
    long = ["see you at lunch, or call 09061701461 to claim your prize"]
    np.testing.assert_allclose(loaded.predict_proba(long), made.predict_proba(long), atol=1e-6)
    assert np.abs(plain.predict_proba(long) - made.predict_proba(long)).max() > 1e-3


def test_an_unknown_rule_for_long_texts_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    """A rule of a later version is not taken for another."""
    (tmp_path / "odd").mkdir()
    odd = reading(probe_bundle(tiny_llama), LongRule(kind=cast("Kind", "pages")))
    write_bundle(odd, tmp_path / "odd", extra={})
    with pytest.raises(BundleError, match="rule 'pages' for long texts is not known"):
        Predictor.load(tmp_path / "odd")


def test_an_unknown_pooling_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    """It is not taken for one that is known."""
    bundle = probe_bundle(tiny_llama)
    scorer = cast("ProbeScorer", bundle.scorer)
    write_bundle(replace(bundle, scorer=replace(scorer, pooling=cast("Pooling", "middle"))), tmp_path, extra={})
    with pytest.raises(BundleError, match="pooling 'middle' is not known"):
        read_bundle(tmp_path)


def test_a_newer_format_says_so(tiny_llama: Path, tmp_path: Path) -> None:
    """The version is looked at before anything else."""
    saved = tmp_path / "plain"
    Predictor(probe_bundle(tiny_llama), device="cpu").save(saved)
    file = saved / "bundle.json"
    file.write_text(file.read_text().replace('"format_version": 2', f'"format_version": {FORMAT + 1}'))
    with pytest.raises(BundleError, match=f"bundle format {FORMAT + 1}, this version reads up to {FORMAT}"):
        Predictor.load(saved)


def test_what_is_no_bundle_is_said(tmp_path: Path) -> None:
    """A missing folder and a folder of something else are told apart."""
    with pytest.raises(BundleError, match="no such folder"):
        Predictor.load(tmp_path / "absent")
    with pytest.raises(BundleError, match="neither a bundle"):
        Predictor.load(tmp_path)


def test_a_classifier_that_answers_differently_is_not_saved(
    made: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reloaded bundle is compared before it gets its name; on a difference nothing is left."""
    answer = made.predict_proba
    monkeypatch.setattr(made, "predict_proba", lambda texts: answer(texts)[:, ::-1])
    with pytest.raises(BundleError, match="answers differently"):
        made.save(tmp_path / "spam")
    assert not list(tmp_path.iterdir())


def moved(bundle: Bundle, share: float) -> Predictor:
    """Return the classifier of ``bundle``, its golden probabilities moved by ``share`` towards the first label."""
    rows = Predictor(bundle).predict_proba(GOLDEN_TEXTS)
    rows = rows + share * (np.eye(rows.shape[1])[0] - rows)
    golden = tuple((text, tuple(row)) for text, row in zip(GOLDEN_TEXTS, rows.tolist(), strict=True))
    return Predictor(replace(bundle, golden=golden))


@pytest.mark.parametrize(
    ("make", "near", "far"), [(probe_bundle, 5e-4, 0.01), (int8_bundle, 0.01, 0.2), (several_bundle, 5e-4, 0.05)]
)
def test_another_machine_may_answer_a_little_otherwise(
    make: Callable[[Path], Bundle], near: float, far: float, tiny_llama: Path
) -> None:
    """What sums in another order, and int8 values on a border, can do is let pass elsewhere, and never here."""
    bundle = make(tiny_llama)
    moved(bundle, near).check_golden(elsewhere=True)
    with pytest.raises(BundleError, match="answers differently"):
        moved(bundle, near).check_golden()
    with pytest.raises(BundleError, match="answers differently"):
        moved(bundle, far).check_golden(elsewhere=True)
    with pytest.raises(BundleError, match="answers differently"):
        moved(bundle, float("nan")).check_golden(elsewhere=True)


def test_steep_rules_make_more_of_a_little(tiny_llama: Path) -> None:
    """Calibration that multiplies differences multiplies those of another machine too."""
    bundle = probe_bundle(tiny_llama)
    steep = replace(bundle, rules=Rules(steps=(Scaling(scale=(9.0, 9.0, 9.0), shift=(0.0, 0.0, 0.0)),)))
    with pytest.raises(BundleError, match="answers differently"):
        moved(bundle, 3e-3).check_golden(elsewhere=True)
    plain = Predictor(bundle).predict_proba(GOLDEN_TEXTS)
    near = steep.rules.apply(plain + 9e-4 * (np.eye(3)[0] - plain))
    assert np.abs(near - steep.rules.apply(plain)).max() > 1e-3
    golden = tuple((text, tuple(row)) for text, row in zip(GOLDEN_TEXTS, near.tolist(), strict=True))
    Predictor(replace(steep, golden=golden)).check_golden(elsewhere=True)


def test_windows_are_tried_with_a_text_of_several(tiny_llama: Path, tmp_path: Path) -> None:
    """However much a window holds, one golden text is read in more than one."""
    bundle = reading(probe_bundle(tiny_llama), LongRule(kind="windows"), max_tokens=64)
    Predictor(bundle).save(tmp_path / "spam")
    loaded = Predictor.load(tmp_path / "spam")
    texts = [text for text, _ in loaded.bundle.golden]
    assert len(texts) == len(GOLDEN_TEXTS) + 1
    assert loaded.predict(texts)[-1].windows == 2


def test_nothing_is_overwritten(made: Predictor, saved: Path) -> None:
    """Saving onto a folder that holds something is refused and leaves it as it was."""
    before = {file.name: file.read_bytes() for file in saved.iterdir()}
    with pytest.raises(SetupError):
        made.save(saved)
    assert {file.name: file.read_bytes() for file in saved.iterdir()} == before


def test_a_run_folder_stands_for_its_bundle(made: Predictor, saved: Path, tmp_path: Path) -> None:
    """A run is accepted where a bundle is."""
    run = tmp_path / "run"
    run.mkdir()
    shutil.move(saved, run / "bundle")
    assert Predictor.load(run).labels == made.labels


def test_writing_twice_gives_the_same_bytes(made: Predictor, tmp_path: Path) -> None:
    """A bundle is a function of the classifier: no times, no random names."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_bundle(made.bundle, tmp_path / name, extra={})
    files = [sorted((tmp_path / name).iterdir()) for name in ("a", "b")]
    assert [file.name for file in files[0]] == [file.name for file in files[1]]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]


def test_threads_get_the_answers_of_one(made: Predictor) -> None:
    """One predictor serves several threads at once."""
    expected = made.predict_proba(TEXTS)
    found: list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = []
    threads = [threading.Thread(target=lambda: found.append(made.predict_proba(TEXTS))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for rows in found:
        np.testing.assert_allclose(rows, expected, atol=1e-6)


def saved_manifest(bundle: Bundle, folder: Path) -> dict[str, Any]:
    Predictor(bundle, device="cpu").save(folder)
    found: dict[str, Any] = json.loads((folder / "bundle.json").read_text())
    return found


def test_only_tails_that_read_more_have_the_newest_format(tiny_llama: Path, tmp_path: Path) -> None:
    """Those read at one token, however they were trained, are for old readers too, and how is said beside them."""
    usual, pooled = tail_bundle(tiny_llama), pooled_tail_bundle(tiny_llama)
    plain = saved_manifest(usual, tmp_path / "tail")
    assert plain["format_version"] == 2
    assert plain["classifier"] == {"method": "tail", "first": 1, "blocks": 2}
    made = saved_manifest(pooled, tmp_path / "pooled")
    assert made["format_version"] == 6
    assert made["classifier"] == {"method": "tail", "first": 1, "blocks": 2, "pooling": "last+mean"}
    assert read_bundle(tmp_path / "pooled").scorer.pooling == "last+mean"
    trained = saved_manifest(full_bundle(tiny_llama), tmp_path / "full")
    assert trained["format_version"] == 2 and trained["cut"] == 0
    assert trained["classifier"] == {"method": "tail", "first": 0, "blocks": 3, "trained": "full"}
    again = read_bundle(tmp_path / "full").scorer
    assert isinstance(again, TailScorer) and again.kind == "full" and again.pooling == "last"


def test_a_pooling_of_later_versions_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    """It says which, and what to do."""
    bundle = tail_bundle(tiny_llama)
    assert isinstance(bundle.scorer, TailScorer)
    bundle.scorer.pooling = cast("Pooling", "median")
    (tmp_path / "odd").mkdir()
    write_bundle(bundle, tmp_path / "odd", extra={})
    with pytest.raises(BundleError, match=r"pooling 'median' is not known.*newer tailtune"):
        read_bundle(tmp_path / "odd")
