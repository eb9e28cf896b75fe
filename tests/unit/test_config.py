"""Every value is checked where it enters, and its origin is known."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailtune.config import DEFAULT_MODEL, RECIPES, TrainConfig, settings
from tailtune.errors import ConfigError
from tailtune.resolving import resolve
from tailtune.template import Template


def toml(folder: Path, content: str) -> Path:
    path = folder / "train.toml"
    path.write_text(content, encoding="utf-8")
    return path


def test_defaults_resolve_to_the_dataclass_defaults() -> None:
    """Python users and the command line get the same run from the same words."""
    resolved = resolve({"data": "x.csv"})
    assert resolved.config == TrainConfig(data="x.csv")
    assert resolved.origins.pop("data") == "flag"
    assert set(resolved.origins.values()) == {"default"}


def test_origins_name_every_field() -> None:
    """A run can say of each value where it came from."""
    assert list(resolve({"data": "x.csv"}).origins) == [part.name for part in dataclasses.fields(TrainConfig)]


def test_flag_beats_file_beats_environment_beats_recipe_beats_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The documented precedence, each step of it once."""
    monkeypatch.setenv("TAILTUNE_MODEL", "from-environment")
    file = toml(tmp_path, 'data = "file.csv"\nseed = 7\nepochs = 9\nlearning-rate = 2e-4\nrecipe = "chapter"\n')
    resolved = resolve({"seed": "3", "learning_rate": None}, file)
    config, origins = resolved.config, resolved.origins
    assert (config.seed, origins["seed"]) == (3, "flag")
    assert (config.epochs, origins["epochs"]) == (9, f"file {file}")
    assert (config.learning_rate, origins["learning_rate"]) == (2e-4, f"file {file}")
    assert (config.model, origins["model"]) == ("from-environment", "environment")
    assert (config.balance, origins["balance"]) == ("undersample", "recipe chapter")
    assert (config.pooling, origins["pooling"]) == ("auto", "default")


def finished_run(folder: Path, **changes: Any) -> Path:
    """Write what a finished run says of its choices, and return its folder."""
    config = {**TrainConfig(data="old.csv", model="mine", epochs=3, seed=9, threads=1).as_json()}
    choices = [{"candidate": "probe", "penalty": 0.1, "chosen": False}, {"penalty": 0.3, "chosen": True}]
    metrics = {"config": config, "method": "probe", "depth": 6, "precision": "int8", "choices": choices, **changes}
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    return folder


def test_an_earlier_runs_choices_are_taken_over(tmp_path: Path) -> None:
    """What it chose and what it was told of model and training, between file and environment; not its data or seed."""
    run = finished_run(tmp_path)
    resolved = resolve({"data": "new.csv", "like": str(run)}, toml(tmp_path, "epochs = 4"))
    config = resolved.config
    assert (config.model, config.method, config.depth, config.precision, config.penalty) == (
        "mine", "probe", 6, "int8", 0.3,
    )  # fmt: skip
    assert (config.data, config.seed, config.threads, config.epochs) == ("new.csv", 0, None, 4)
    assert {resolved.origins[name] for name in ("model", "depth", "penalty")} == {f"like {run}"}
    assert resolve({"data": "x", "like": str(run), "depth": "9"}).config.depth == 9


def test_weights_and_losses_are_taken_over(tmp_path: Path) -> None:
    """Class weights always, the loss where a tail was chosen: a probe would refuse it. Runs of old record none."""
    told: dict[str, Any] = {"class_weights": "auto", "loss": "focal", "focal_gamma": 3.0}
    config = TrainConfig(data="old.csv", **told).as_json()
    tail = resolve({"data": "x", "like": str(finished_run(tmp_path, method="tail", config=config))}).config
    assert (tail.weighting, tail.loss, tail.focal_gamma) == ("auto", "focal", 3.0)
    probe = resolve({"data": "x", "like": str(finished_run(tmp_path, config=config))}).config
    assert (probe.method, probe.weighting, probe.loss) == ("probe", "auto", "cross-entropy")
    smooth = TrainConfig(data="old.csv", label_smoothing=0.1).as_json()
    again = resolve({"data": "x", "like": str(finished_run(tmp_path, method="tail", config=smooth))}).config
    assert again.label_smoothing == 0.1
    old = {name: value for name, value in config.items() if name not in (*told, "label_smoothing")}
    assert resolve({"data": "x", "like": str(finished_run(tmp_path, method="tail", config=old))}).config.loss != "focal"


def test_how_blocks_were_trained_is_taken_over(tmp_path: Path) -> None:
    """Where blocks were kept; a rate that was found is not looked for again, and a lone probe is told none of it."""
    told: dict[str, Any] = {"learning_rate": "auto", "ema": 0.9, "layer_decay": 0.8, "accumulation": 4}
    config = TrainConfig(data="old.csv", **told).as_json()
    found = {"chosen": 7e-4, "reason": "the best of 3 rates tried"}
    run = finished_run(tmp_path, method="tail", config=config, learning_rate=found)
    tail = resolve({"data": "x", "like": str(run)})
    assert (tail.config.learning_rate, tail.origins["learning_rate"]) == (7e-4, f"like {run}")
    assert (tail.config.ema, tail.config.layer_decay, tail.config.accumulation) == (0.9, 0.8, 4)
    assert resolve({"data": "x", "like": str(run), "learning_rate": "auto"}).config.learning_rate == "auto"
    for more in ({"learning_rate": found}, {}):  # a tail was tried and lost, or none was tried
        probe = resolve({"data": "x", "like": str(finished_run(tmp_path, config=config, **more))}).config
        assert (probe.method, probe.ema) == ("probe", None)
        assert probe.learning_rate == (7e-4 if more else 1e-4)


def test_two_names_for_balanced_weights() -> None:
    """--balance weights is --class-weights auto, alone or beside it."""
    assert TrainConfig(data="x", balance="weights").weighting == "auto"
    assert TrainConfig(data="x", class_weights="auto").weighting == "auto"
    assert TrainConfig(data="x", balance="weights", class_weights="auto").weighting == "auto"
    assert TrainConfig(data="x", balance="undersample", class_weights="w.toml").weighting == "w.toml"
    assert TrainConfig(data="x").weighting is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"balance": "weights", "class_weights": "w.toml"}, "--balance weights and --class-weights w.toml contradict"),
        ({"balance": "weights", "class_weights": "none"}, "--balance weights and --class-weights none contradict"),
        ({"loss": "focal", "label_smoothing": 0.1}, "--loss focal and --label-smoothing 0.1 contradict each other"),
        ({"loss": "focal", "method": "probe"}, "--loss focal is of a tail; a probe is fitted with the plain"),
        ({"label_smoothing": 0.1, "method": "probe"}, "--label-smoothing 0.1 is of a tail"),
        ({"focal_gamma": 1.0}, "--focal-gamma 1 is of --loss focal"),
        ({"focal_gamma": -1.0, "loss": "focal"}, "expected a number, at least 0.0, got -1.0"),
        ({"label_smoothing": 1.0}, "expected a number, at least 0.0, below 1.0, got 1.0"),
        ({"ema": 0.99, "average_last": 2}, "--ema 0.99 and --average-last 2 contradict each other"),
        ({"ema": 0.99, "method": "probe"}, "--ema 0.99 is of trained blocks; a probe has none"),
        ({"accumulation": 2, "method": "probe"}, "--accumulation 2 is of trained blocks; a probe has none"),
        ({"learning_rate": "auto", "method": "probe"}, "--learning-rate auto is of trained blocks"),
        ({"weight_decay_of": "matrices", "method": "probe"}, "--weight-decay-of matrices is of trained blocks"),
        ({"layer_decay": 1.1}, "expected a number above 0, at most 1.0, got 1.1"),
        ({"layer_decay": 0.0}, "expected a number above 0, at most 1.0, got 0.0"),
        ({"ema": 1.0}, "expected a number or 'none' above 0, below 1.0, got 1.0"),
        ({"average_last": 1}, "expected an integer or 'none', at least 2, got 1"),
        ({"accumulation": 0}, "expected an integer, at least 1, got 0"),
        ({"head_rate_factor": 0}, "expected a number above 0, got 0"),
    ],
)
def test_losses_that_cannot_be_are_refused(given: dict[str, Any], said: str) -> None:
    """By the command line and in Python alike, with exit code 2."""
    for build in (lambda: TrainConfig(data="x", **given), lambda: resolve({"data": "x", **given})):
        with pytest.raises(ConfigError, match=re.escape(said)) as caught:
            build()
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ("auto", ("auto",)), (True, ("auto",)), ("none", ()), (False, ()), ("tfidf", ("tfidf",)),
        ("minilm, tfidf,minilm", ("minilm", "tfidf")),
    ],
)  # fmt: skip
def test_baselines_by_name(given: str | bool, kinds: tuple[str, ...], tmp_path: Path) -> None:
    """A list of names, one word for all or none, or as files of old have it, true or false."""
    assert TrainConfig(data="x", baselines=given).asked_baselines == kinds
    assert resolve({"data": "x"}, toml(tmp_path, f"baselines = {json.dumps(given)}")).config.asked_baselines == kinds


@pytest.mark.parametrize("given", ["bert", "tfidf,auto", "tfidf none", "none,tfidf"])
def test_unknown_baselines_are_refused(given: str) -> None:
    """The name is said, and those that are known."""
    with pytest.raises(ConfigError, match="is not known") as caught:
        TrainConfig(data="x", baselines=given)
    assert caught.value.hint == "known: tfidf, minilm, random; auto and none stand alone"


def test_a_tails_penalty_is_left_open(tmp_path: Path) -> None:
    """It has none."""
    run = finished_run(tmp_path, method="tail", choices=[{"candidate": "tail", "chosen": True}])
    assert resolve({"data": "x", "like": str(run)}).config.penalty == "auto"


@pytest.mark.parametrize(
    "changes",
    [{"depth": "deep"}, {"depth": None}, {"choices": []}, {"config": {}}, {"choices": None}, {"method": "magic"}],
)
def test_what_is_no_finished_run_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    """One line naming the folder or the value, whatever is wrong with it."""
    run = finished_run(tmp_path, **changes)
    with pytest.raises(ConfigError, match=re.escape(str(run))):
        resolve({"data": "x", "like": str(run)})


def test_no_run_is_refused(tmp_path: Path) -> None:
    """A folder without metrics is none."""
    with pytest.raises(ConfigError, match="no finished run there"):
        resolve({"data": "x", "like": str(tmp_path)})


def test_model_flag_and_file_beat_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TAILTUNE_MODEL changes the default, and nothing that was asked for."""
    monkeypatch.setenv("TAILTUNE_MODEL", "from-environment")
    assert resolve({"data": "x", "model": "mine"}).config.model == "mine"
    assert resolve({"data": "x"}, toml(tmp_path, 'model = "mine"')).config.model == "mine"
    assert TrainConfig(data="x").model == "from-environment"
    monkeypatch.setenv("TAILTUNE_MODEL", "")
    assert resolve({"data": "x"}).config.model == TrainConfig(data="x").model == DEFAULT_MODEL


def test_chapter_recipe_sets_all_its_values_and_nothing_else() -> None:
    """The recipe is one table; what it holds is what the run gets."""
    resolved = resolve({"data": "x", "recipe": "chapter"})
    from_recipe = {name for name, origin in resolved.origins.items() if origin == "recipe chapter"}
    assert from_recipe == set(RECIPES["chapter"])
    assert {name: getattr(resolved.config, name) for name in from_recipe} == dict(RECIPES["chapter"])
    assert resolved.config.clip_norm is None
    assert resolved.config.schedule == "constant"


def test_none_as_text_overrides_a_number(tmp_path: Path) -> None:
    """TOML has no null and a flag no absence: both write none."""
    assert resolve({"data": "x", "clip_norm": "none", "patience": "None"}).config.clip_norm is None
    resolved = resolve({"data": "x"}, toml(tmp_path, 'clip-norm = "none"\npatience = "none"'))
    assert resolved.config.clip_norm is None
    assert resolved.config.patience is None
    assert resolved.origins["patience"].startswith("file ")


def test_none_in_a_file_can_be_overridden_by_a_flag(tmp_path: Path) -> None:
    """A None from a file counts as given, and still yields to a flag."""
    resolved = resolve({"data": "x", "clip_norm": "0.5"}, toml(tmp_path, 'clip-norm = "none"'))
    assert resolved.config.clip_norm == 0.5


@pytest.mark.parametrize(("text", "depth"), [("auto", "auto"), ("last", "last"), ("9", 9), ("0", 0)])
def test_depth_is_a_word_or_a_number(text: str, depth: int | str) -> None:
    """Numbers on the command line arrive as numbers."""
    assert resolve({"data": "x", "depth": text}).config.depth == depth


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", "five", "expected an integer, at least 1, got 'five'"),
        ("epochs", "0", "expected an integer, at least 1, got 0"),
        ("epochs", "1.5", "expected an integer, at least 1, got '1.5'"),
        ("epochs", True, "expected an integer, at least 1, got True"),
        ("learning_rate", "0", "expected 'auto' or a number above 0, got 0.0"),
        ("learning_rate", "nan", "expected 'auto' or a number above 0, got nan"),
        ("learning_rate", "inf", "expected 'auto' or a number above 0, got inf"),
        ("warmup_fraction", "1", "expected a number, at least 0.0, below 1.0, got 1.0"),
        (
            "method",
            "svm",
            "expected 'auto' or 'probe' or 'tail' or 'lora' or 'full' or 'ngrams' or 'zero-shot', got 'svm'",
        ),
        ("depth", "middle", "expected 'auto' or 'last' or an integer, at least 0, got 'middle'"),
        ("depth", "-1", "at least 0, got -1"),
        ("seed", "-1", "got -1"),
        ("seed", str(2**32), "below 4294967296, got 4294967296"),
        ("cache", "yes", "expected true or false, got 'yes'"),
        ("model", "  ", "expected a text that is not empty, got '  '"),
    ],
)
def test_wrong_values_say_flag_got_and_expected(name: str, value: Any, expected: str) -> None:
    """One line: which flag, what was expected, what came."""
    with pytest.raises(ConfigError) as caught:
        resolve({"data": "x", name: value})
    assert caught.value.message.startswith(settings()[name].flag + ": ")
    assert caught.value.message.endswith(expected)
    assert caught.value.exit_code == 2


def test_the_dataclass_checks_itself() -> None:
    """Python callers who never resolve() are refused alike."""
    with pytest.raises(ConfigError, match="batch_size: expected an integer, at least 1, got 0"):
        TrainConfig(data="x", batch_size=0)
    with pytest.raises(ConfigError, match="data: expected"):
        TrainConfig(data="")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('epochs = "5"', "epochs: expected an integer, at least 1, got '5'"),
        ("learning-rate = true", "learning-rate: expected 'auto' or a number above 0, got True"),
        ("quiet = 1", "quiet: expected true or false, got 1"),
        ("text-column = 3", "text-column: expected a text"),
        ("epochs = [5]", "got [5]"),
        ("seed = 1979-05-27", "got datetime.date"),
    ],
)
def test_wrong_types_in_a_file_name_file_and_key(tmp_path: Path, content: str, said: str) -> None:
    """A quoted number is text: TOML has types, and the file is told which was meant."""
    file = toml(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        resolve({"data": "x"}, file)
    assert caught.value.message.startswith(f"{file}: ")
    assert said in caught.value.message


def test_unknown_key_suggests_the_nearest(tmp_path: Path) -> None:
    """A typo is an error, with the name that was likely meant."""
    with pytest.raises(ConfigError) as caught:
        resolve({"data": "x"}, toml(tmp_path, "lerning-rate = 1e-4"))
    assert "unknown setting 'lerning-rate'" in caught.value.message
    assert caught.value.hint == "did you mean learning-rate?"
    with pytest.raises(ConfigError, match="unknown setting 'zzz'"):
        resolve({"data": "x", "zzz": 1})


def test_a_key_in_both_spellings_is_refused(tmp_path: Path) -> None:
    """Two values for one setting have no right answer."""
    with pytest.raises(ConfigError, match="given twice"):
        resolve({"data": "x"}, toml(tmp_path, "batch-size = 4\nbatch_size = 8"))


def test_broken_missing_and_foreign_files_are_config_errors(tmp_path: Path) -> None:
    """Whatever is wrong with the file, one line says so; broken TOML with its line."""
    with pytest.raises(ConfigError, match=r"broken TOML: .*line 2"):
        resolve({"data": "x"}, toml(tmp_path, "seed = 1\nepochs =\n"))
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        resolve({"data": "x"}, tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        resolve({"data": "x"}, tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'model = "caf\xe9"')
    with pytest.raises(ConfigError, match="not UTF-8 at byte 12"):
        resolve({"data": "x"}, tmp_path / "latin.toml")


def test_no_data_is_one_line() -> None:
    """DATA may come from the file, so the command line cannot insist on it; resolve() does."""
    with pytest.raises(ConfigError, match="no data given"):
        resolve({})


def test_json_and_back() -> None:
    """What a run records is enough to build the same configuration."""
    config = resolve({"data": "x", "recipe": "chapter", "depth": "7"}).config
    assert TrainConfig(**json.loads(json.dumps(config.as_json()))) == config


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "epochs": st.integers(1, 1000),
            "learning_rate": st.just("auto") | st.floats(1e-9, 10.0),
            "average_last": st.none() | st.integers(2, 9),
            "clip_norm": st.none() | st.floats(1e-3, 10.0),
            "depth": st.sampled_from(["auto", "last"]) | st.integers(0, 100),
            "seed": st.integers(0, 2**32 - 1),
        },
    )
)
def test_text_and_typed_flags_mean_the_same(values: dict[str, Any]) -> None:
    """A flag typed in a shell and a keyword in Python give one configuration."""
    spelled = {name: str(value).lower() if value is None else str(value) for name, value in values.items()}
    config = resolve({"data": "x", **spelled}).config
    assert config == TrainConfig(data="x", **values)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"method": "tail", "lora_rank": 8}, "--lora-rank is of --method lora, not of tail"),
        ({"method": "full", "lora_kind": "dora"}, "--lora-kind is of --method lora, not of full"),
        ({"keep_adapter": True}, "--keep-adapter is of --method lora, not of auto"),
        ({"method": "tail", "from_depth": 3}, "--from-depth is of --method lora and full, not of tail"),
        ({"method": "probe", "from_depth": 3}, "--from-depth is of --method lora and full, not of probe"),
        ({"method": "lora", "blocks": 2}, "--blocks is of a tail, not of --method lora"),
        ({"method": "ngrams", "head_init": "lm"}, "--head-init is of a language model, and --method ngrams uses none"),
        ({"method": "zero-shot", "teacher": "run"}, "--teacher and --method zero-shot contradict each other"),
        (
            {"method": "full", "budget": "5ms"},
            "--budget limits the depth that is searched, and --method full searches none",
        ),
        (
            {"method": "full", "precision": "int8"},
            "--precision int8 is of frozen blocks, and --method full leaves none",
        ),
        ({"method": "full", "out_of_scope": True}, "--out-of-scope is of frozen blocks, and --method full leaves none"),
    ],
)
def test_settings_of_other_methods_are_refused(given: dict[str, Any], told: str) -> None:
    """One line that names the setting and the method."""
    with pytest.raises(ConfigError) as caught:
        TrainConfig(data="x", **given)
    assert caught.value.message == told
    assert caught.value.hint


@pytest.mark.parametrize(
    "given",
    [
        {"method": "lora", "lora_rank": 4, "from_depth": 2, "keep_adapter": True, "precision": "int8"},
        {"method": "full", "from_depth": 1, "precision": "int8", "out_of_scope": True, "pooling": "mean"},
    ],
)
def test_settings_of_the_method_itself_are_fine(given: dict[str, Any]) -> None:
    """Those that go together are taken."""
    assert TrainConfig(data="x", **given).method == given["method"]


def test_templates_and_words_are_taken_over(tmp_path: Path) -> None:
    """An earlier run's template, words and start; one of before they were there has none."""
    told: dict[str, Any] = {"template": "Say: {text}", "head_init": "lm", "label_words": "a=b;c=d"}
    config = TrainConfig(data="old.csv", method="probe", **told).as_json()
    again = resolve({"data": "x", "like": str(finished_run(tmp_path, config=config))}).config
    assert (again.template, again.head_init, again.label_words) == ("Say: {text}", "lm", "a=b;c=d")
    assert again.made_by == Template.parse("Say: {text}")
    old = {name: value for name, value in config.items() if name not in told}
    assert resolve({"data": "x", "like": str(finished_run(tmp_path, config=old))}).config.made_by is None


@pytest.mark.parametrize(
    ("given", "columns"),
    [({}, None), ({"method": "zero-shot"}, ("text",)), ({"method": "zero-shot", "template": "{a}{b}"}, ("a", "b"))],
)
def test_the_lm_head_has_a_template_of_its_own(given: dict[str, Any], columns: tuple[str, ...] | None) -> None:
    """Where none is given and a next word is asked for; bare texts else."""
    made_by = resolve({"data": "x", **given}).config.made_by
    assert (made_by and made_by.columns) == columns
