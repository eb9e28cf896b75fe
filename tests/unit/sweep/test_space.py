"""What may be varied is read from files and flags alike, and everything else is refused in one clear line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailtune.config import settings
from tailtune.errors import ConfigError
from tailtune.resolving import Resolved, resolve
from tailtune.sweep.space import OF_TAILS, REFUSED, Choice, Numbers, Space, default_names, drawn, read_space


def space_of(
    *vary: str, toml: str | None = None, folder: Path | None = None, resolved: Resolved | None = None, **fixed: Any
) -> Space:
    """The space that flags and a file give, beside what is ``fixed`` by flags."""
    found = resolved or resolve({"data": "x.csv", **fixed})
    file = None
    if toml is not None:
        assert folder is not None
        file = folder / "space.toml"
        file.write_text(toml, encoding="utf-8")
    return read_space(file, vary, found.config, found.origins)


def test_a_file_and_flags_say_the_same(tmp_path: Path) -> None:
    """Ranges, steps, choices, words and none."""
    toml = """
learning-rate = {low = 1e-5, high = 1e-3, log = true}
weight_decay = {low = 0, high = 0.3, step = 0.1}
blocks = {low = 1, high = 3}
batch-size = [4, 8]
clip-norm = ["none", 1.0]
schedule = ["linear", "cosine"]
depth = ["auto", 3, "last"]
"""
    flags = (
        *("learning-rate=1e-5..1e-3:log", "weight_decay=0..0.3:step=0.1", "blocks=1..3", "batch-size=4,8"),
        *("clip-norm=none,1.0", "schedule=linear,cosine", "depth=auto,3,last"),
    )
    expected = {
        "learning_rate": Numbers(low=1e-5, high=1e-3, log=True),
        "weight_decay": Numbers(low=0.0, high=0.3, step=0.1),
        "blocks": Numbers(low=1, high=3),
        "batch_size": Choice(values=(4, 8)),
        "clip_norm": Choice(values=(None, 1.0)),
        "schedule": Choice(values=("linear", "cosine")),
        "depth": Choice(values=("auto", 3, "last")),
    }
    assert space_of(toml=toml, folder=tmp_path) == space_of(*flags) == expected
    assert space_of(*flags)["blocks"] == Numbers(low=1, high=3)
    assert isinstance(space_of("weight-decay=0..1")["weight_decay"], Numbers)


def test_a_flag_goes_before_the_file_and_the_method_before_all(tmp_path: Path) -> None:
    """What is drawn hangs on the method, so it is drawn first."""
    space = space_of("epochs=2,3", "method=auto", toml='epochs = "auto"\n', folder=tmp_path)
    assert list(space) == ["method", "epochs"]
    assert space["epochs"] == Choice(values=(2, 3))
    assert space["method"] == Choice(values=("probe", "tail"))


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        ("lerning-rate=auto", "--vary lerning-rate=auto: unknown setting 'lerning-rate'"),
        ("epochs", "--vary epochs: no values"),
        ("epochs=", "no values"),
        ("epochs=3", "1 value(s) are no choice"),
        ("epochs=3,3", "3 is given twice"),
        ("epochs=1..five", "high: expected an integer, at least 1, got 'five'"),
        ("epochs=0..5", "low: expected an integer, at least 1, got 0"),
        ("epochs=1.5..5", "low: expected an integer, at least 1, got '1.5'"),
        ("epochs=5..1", "low 5 is not below high 1"),
        ("epochs=1..5:exp", "unknown 'exp'"),
        ("epochs=1..5:step=3", "steps of 3 from 1 do not end at 5"),
        ("epochs=1..5:step=0.5", "step: expected a number"),
        ("weight-decay=0..1:log", "log needs low above 0 and no step"),
        ("learning-rate=1e-5..1e-3:log:step=1e-5", "log needs low above 0 and no step"),
        ("label-smoothing=0..1", "high: expected a number, at least 0.0, below 1.0, got 1"),
        ("learning-rate=nan..1", "low: expected"),
        ("schedule=linear,cubic", "expected 'constant' or 'linear' or 'cosine', got 'cubic'"),
        ("schedule=1..3", "schedule is no number"),
        ("max-tokens=auto", "max-tokens has no range of its own"),
        ("seed=1,2,3", "seed cannot be swept: the best of several seeds is the luckiest"),
        ("test=a.csv,b.csv", "test cannot be swept: it decides which rows"),
        ("out=a,b", "out cannot be swept: it changes no score"),
    ],
)
def test_what_makes_no_sense_is_refused(vary: str, said: str) -> None:
    """The flag, what was expected and what was got."""
    with pytest.raises(ConfigError) as refused:
        space_of(vary)
    assert said in refused.value.message
    assert refused.value.message.startswith(f"--vary {vary}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("blocks = ", "broken TOML"),
        ("", "varies nothing"),
        ("blocks = 3", "one value is nothing to vary, got 3"),
        ("blocks = [1, 2]\n[blocks2]\n", "unknown setting 'blocks2'"),
        ("batch-size = [1, 2]\nbatch_size = [1, 2]", "is given twice, with - and with _"),
        ("blocks = {low = 1}", "a range needs low and high, got low"),
        ("blocks = {low = 1, high = 3, lo = 2}", "unknown 'lo'"),
        ("blocks = {low = true, high = 3}", "low: expected an integer, at least 1, got True"),
        ("blocks = {low = 1, high = 3, log = 1}", "log: expected true or false, got 1"),
        ("blocks = [1, [2]]", "expected an integer, at least 1, got [2]"),
        ("learning-rate = {low = 1e-5, high = inf}", "high: expected 'auto' or a number above 0, got inf"),
    ],
)
def test_a_broken_file_is_refused(toml: str, said: str, tmp_path: Path) -> None:
    """The file and the key are named."""
    with pytest.raises(ConfigError) as refused:
        space_of(toml=toml, folder=tmp_path)
    assert said in refused.value.message
    assert "space.toml" in refused.value.message


def test_what_is_fixed_cannot_be_varied(tmp_path: Path) -> None:
    """By flag or by file; what the recipe sets can."""
    with pytest.raises(ConfigError, match=r"--epochs is fixed by flag as well"):
        space_of("epochs=1,2", epochs=3)
    file = tmp_path / "train.toml"
    file.write_text('data = "x.csv"\nepochs = 3\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"--epochs is fixed by file .*train.toml as well"):
        space_of("epochs=1,2", resolved=resolve({}, file))
    assert space_of("epochs=1,2", recipe="chapter")["epochs"] == Choice(values=(1, 2))
    with pytest.raises(ConfigError, match=r"learning-rate is of a tail, and --method probe is fixed"):
        space_of("learning-rate=auto", method="probe")
    with pytest.raises(ConfigError, match=r"penalty is of a probe, and --method tail is fixed"):
        space_of("penalty=auto", method="tail")


@pytest.mark.parametrize("method", ["auto", "probe", "tail", "lora", "full"])
def test_the_default_space_fits_method_and_model(tiny_llama: Path, tiny_bert: Path, method: str) -> None:
    """Depths and blocks of the model, poolings of its kind; what is fixed is left out."""
    space = space_of(method=method, model=str(tiny_llama))
    names = [name for name in default_names(method) if name != "method"]
    assert list(space) == names  # the method was given by a flag
    if method == "probe":
        assert space["depth"] == Numbers(low=1, high=3, step=1)
        assert space["pooling"] == Choice(values=("last", "mean", "last+mean"))
        encoder = space_of(method=method, model=str(tiny_bert))
        assert encoder["depth"] == Numbers(low=1, high=4, step=1)
        assert encoder["pooling"] == Choice(values=("first", "mean", "first+mean"))
    if method == "tail":
        assert space["blocks"] == Numbers(low=1, high=4, step=1)
        assert "learning_rate" not in space_of(method=method, model=str(tiny_llama), learning_rate=1e-4)
    if method in ("lora", "full"):
        assert not {"blocks", "penalty"} & set(space)  # they would be refused in every trial
        assert "learning_rate" in space


@pytest.mark.parametrize("method", ["zero-shot", "ngrams"])
def test_what_trains_nothing_has_no_default_space(method: str) -> None:
    """There is nothing that could be varied."""
    with pytest.raises(ConfigError, match="all of the default space is fixed"):
        space_of(method=method)


@pytest.mark.parametrize("name", ["template", "head-init", "label-words", "calibrate-prior"])
def test_how_texts_are_made_and_what_the_model_says_are_not_swept(name: str) -> None:
    """They are flags of all trials."""
    with pytest.raises(ConfigError, match=f"{name} cannot be swept"):
        space_of(f"{name}=a,b" if name != "calibrate-prior" else f"{name}=true,false")


def test_a_trial_draws_what_matters_to_its_method(tiny_llama: Path) -> None:
    """A probe needs no learning rate, a tail no penalty."""
    space = space_of(model=str(tiny_llama))
    assert drawn(space, "probe") == ["method", "pooling", "penalty"]
    assert set(drawn(space, "tail")) == set(space) - {"penalty"}
    assert drawn(space, "auto") == list(space)


def test_every_name_is_that_of_a_setting() -> None:
    """A setting that is renamed cannot be forgotten here; each reason is one line."""
    assert set(REFUSED) <= set(settings())
    assert OF_TAILS & set(settings()) > {"learning_rate", "blocks", "label_smoothing"}
    assert not {"learning_rate", "depth", "pooling", "penalty", "method", "blocks"} & set(REFUSED)


@given(
    low=st.floats(1e-6, 0.4),
    width=st.floats(1e-3, 0.5),
    log=st.booleans(),
    name=st.sampled_from(["learning-rate", "weight-decay", "label-smoothing", "warmup-fraction"]),
)
def test_bounds_come_back_as_written(low: float, width: float, log: bool, name: str) -> None:
    """Whatever the bounds within a setting's range, the range holds exactly them."""
    found = space_of(f"{name}={low!r}..{low + width!r}{':log' if log else ''}")[name.replace("-", "_")]
    assert found == Numbers(low=low, high=low + width, log=log)
    assert not found.whole


@given(low=st.integers(1, 50), step=st.integers(1, 9), count=st.integers(1, 20), over=st.integers(1, 8))
def test_whole_numbers_end_on_a_step(low: int, step: int, count: int, over: int) -> None:
    """Steps that end at the upper bound are taken, others refused."""
    high = low + step * count
    found = space_of(f"epochs={low}..{high}:step={step}")["epochs"]
    assert found == Numbers(low=low, high=high, step=step)
    assert isinstance(found, Numbers)
    assert found.whole
    if over % step:
        with pytest.raises(ConfigError, match="do not end at"):
            space_of(f"epochs={low}..{high + over}:step={step}")


@given(text=st.text(max_size=40))
def test_any_text_is_taken_or_refused_in_one_line(text: str) -> None:
    """No flag ends in anything but a space or a ConfigError."""
    for vary in (text, f"epochs={text}", f"learning-rate={text}"):
        try:
            space = space_of(vary)
        except ConfigError as refused:
            assert refused.exit_code == 2
            assert len(str(refused).splitlines()) == 1
        else:
            assert len(space) == 1


def test_the_page_shows_a_space_that_is_read(tmp_path: Path, tiny_llama: Path) -> None:
    """The TOML block and the --vary of docs/how-to/sweep.md mean what the page says."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "sweep.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    space = space_of(toml=block, folder=tmp_path, model=str(tiny_llama))
    assert space["weight_decay"] == Numbers(low=0.0, high=0.3, step=0.1)
    assert space["clip_norm"] == Choice(values=(None, 1.0))
    assert len(space) == 6
    vary = re.findall(r"--vary ([a-z-]+=[^ ]+)", page)
    assert len(vary) == 2
    assert set(space_of(*vary)) == {"learning_rate", "blocks"}
