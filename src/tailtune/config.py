"""What a training run can be told: names, types, ranges, and which settings contradict each other.

Knows nothing about the command line, models or data. Where values come from is decided in ``tailtune.resolving``.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from tailtune.contradictions import refuse_contradictions
from tailtune.errors import ConfigError
from tailtune.settings import Setting, described
from tailtune.template import Template

DEFAULT_MODEL = "smollm2-135m-instruct"
MODEL_VARIABLE = "TAILTUNE_MODEL"
# Among the columns of ``slice_by``: not a column, but what py3langid takes a text for.
DETECTED_LANGUAGE = "detected-language"
BASELINES = ("tfidf", "minilm", "random")
# The template of texts whose next word is asked for, where none is given.
NEXT_WORD = "{text}\\nCategory:"

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "default": {},  # the defaults of TrainConfig
    "chapter": {  # the values of the chapter on fine-tuning GPT-2 for spam; it neither warms up, decays nor stops early
        "balance": "undersample",
        "batch_size": 8,
        "clip_norm": None,
        "epochs": 5,
        "learning_rate": 5e-5,
        "patience": None,
        "schedule": "constant",
        "warmup_fraction": 0.0,
        "weight_decay": 0.1,
        "weight_decay_of": "all",
    },
}
"""What each recipe sets where neither flag nor file does."""


def default_model() -> str:
    """Return the model used when none is named: the variable TAILTUNE_MODEL if set, else DEFAULT_MODEL."""
    return os.environ.get(MODEL_VARIABLE) or DEFAULT_MODEL


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything that decides a training run. Each field is described where it is declared; --help shows the same line.

    The defaults here are the default recipe. Use ``resolving.resolve`` to have ``recipe="chapter"`` fill in its values.

    Raises:
        ConfigError: If a value has the wrong type or lies outside its range; it says got and expected. If a setting of
            windows stands beside a rule for long texts that has none.
    """

    data: Annotated[str, "file of labelled texts (CSV, TSV, JSONL, Parquet) or the name of a public data set"]
    text_column: Annotated[str | None, "column with the texts (found by its name when not given)"] = None
    template: Annotated[
        str | None, "how a text is made of columns, with words around it: '{subject}\\n{body}', 'Message: {text}'"
    ] = None
    label_column: Annotated[str | None, "column with the labels (found by its name when not given)"] = None
    label_separator: Annotated[str | None, "between the labels of a text that can have several, such as ','"] = None
    label_columns: Annotated[
        str | None, "columns of 0 and 1, one per label, of texts that can have several: toxic,insult,threat"
    ] = None
    label_shares: Annotated[
        str | None, "columns with the votes or probabilities of labels: spam,ham; in JSON lines an object needs no flag"
    ] = None
    label_levels: Annotated[
        str | None, "between the parts of labels that are paths, such as '/' in banking/transfer: scores at every level"
    ] = None
    validation: Annotated[str | None, "file with the validation part, instead of splitting it off"] = None
    test: Annotated[str | None, "file with the test part, instead of splitting it off"] = None
    split_by: Annotated[
        Literal["stratified", "hash"], "how parts are drawn; 'hash' keeps old rows in their part when rows are added"
    ] = "stratified"
    near_duplicates: Annotated[
        Literal["word", "marks"], "what stays in one part: texts that differ in case, digits, marks and a word, or not"
    ] = "word"
    relabel: Annotated[
        str | None, "CSV with labels corrected by hand: doubts.csv of a run, its column 'corrected' filled in"
    ] = None
    group: Annotated[str | None, "column whose rows of equal value stay in one part"] = None
    slice_by: Annotated[
        str | None, "columns by whose values test scores are shown, commas between; 'detected-language' is a guess"
    ] = None
    time_column: Annotated[str | None, "column with the time: train on the oldest rows, test on the newest"] = None
    folds: Annotated[
        int | None, "test every row once, in so many folds; the saved classifier then learns from all rows"
    ] = None
    track: Annotated[
        str | None,
        "told of the finished run, never a text: mlflow, wandb, tensorboard; several with commas, each an extra",
    ] = None
    out: Annotated[str | None, "run folder, empty or absent (default: runs/<data>-<time>)"] = None
    model: Annotated[str, "catalogue name, local folder or file, or hub id"] = field(default_factory=default_model)
    weights: Annotated[
        Literal["pretrained", "random"], "of the model; 'random' draws them, to see what the pretraining brings"
    ] = "pretrained"
    method: Annotated[
        Literal["auto", "probe", "tail", "lora", "full", "ngrams", "zero-shot"],
        "what is trained: a head ('probe'), the last --blocks too ('tail'), all from --from-depth up ('lora', 'full'); "
        "'ngrams' counts words or letters and uses no model, 'zero-shot' asks the model's own next words",
    ] = "auto"
    time: Annotated[
        str | None, "most time to choose and train in, such as 5m or 1h: 'auto' then climbs as high as that allows"
    ] = None
    ship: Annotated[
        Literal["best", "language-model"] | str,
        "'best' of all that validation compares, n-grams too; or parts, with weights: language-model=0.6,char=0.4",
    ] = "best"
    depth: Annotated[
        int | Literal["auto", "last"], "blocks that are kept; 'last' keeps all, 'auto' lets validation choose"
    ] = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "int8"], "of the frozen products; 'auto' takes int8 where it is faster and no worse"
    ] = "auto"
    budget: Annotated[str | None, "most time for one text on this machine, such as 5ms; limits the depth"] = None
    smaller_than: Annotated[str | None, "largest saved classifier, such as 100MB; limits the depth"] = None
    blocks: Annotated[int, "trainable blocks of a tail"] = 1
    from_depth: Annotated[int, "blocks below those that lora or full train; 0 trains the embeddings too in full"] = 0
    pooling: Annotated[
        Literal["auto", "last", "first", "mean", "last+mean", "first+mean"],
        "tokens that are read; 'auto': a decoder's last, an encoder's first, by a probe with the mean",
    ] = "auto"
    penalty: Annotated[
        float | Literal["auto"], "inverse strength (C) of a probe's L2 penalty; 'auto' lets validation choose"
    ] = "auto"
    like: Annotated[str | None, "earlier run whose choices are taken over, not made again: only new texts cost"] = None
    head_init: Annotated[
        Literal["fresh", "lm"], "where a head starts; 'lm' is at the LM head's rows of the label words, at full depth"
    ] = "fresh"
    label_words: Annotated[
        str | None, "what the model would say: 'spam=spam, advertising; ham=ordinary', or TOML (default: the labels)"
    ] = None
    calibrate_prior: Annotated[
        bool, "take off what the model says of an empty text (of zero-shot and of --head-init lm with a probe)"
    ] = False
    recipe: Annotated[Literal["default", "chapter"], "'chapter' sets the values, split and balance of the book"] = (
        "default"
    )
    balance: Annotated[
        Literal["none", "undersample", "weights"],
        "unequal classes, in the training part only; 'weights' is --class-weights auto",
    ] = "none"
    class_weights: Annotated[
        Literal["auto", "none"] | str | None,
        "in what is fitted: 'auto' so that classes weigh the same, or TOML or CSV (class, weight); see --prevalence",
    ] = None
    calibration: Annotated[
        Literal["auto", "none", "temperature", "vector", "isotonic"],
        "how probabilities are set right on validation; 'auto' takes the simplest that helps there, or none",
    ] = "auto"
    max_false_positives: Annotated[
        float | None, "largest share of the texts of other classes that may be called --positive, such as 0.002"
    ] = None
    min_precision: Annotated[float | None, "least share of the texts called --positive that are, such as 0.99"] = None
    positive: Annotated[str | None, "class that such a threshold is for (default: the rarer one of two)"] = None
    costs: Annotated[str | None, "TOML or CSV file: what calling a true class by another costs"] = None
    abstain: Annotated[
        float | None, "largest share of all texts answered wrongly, such as 0.01; less certain answers are marked"
    ] = None
    out_of_scope: Annotated[bool, "save what tells texts that are unlike the training texts"] = False
    out_of_scope_texts: Annotated[
        str | None, "file of texts known to be of no class: how well they are told is measured (with --out-of-scope)"
    ] = None
    prevalence: Annotated[
        str | None, "class shares the probabilities are for, such as spam=0.134; 'data': those before balancing"
    ] = None
    measure_unused: Annotated[bool, "measure errors on the rows that undersampling leaves out too"] = False
    teacher: Annotated[
        str | None, "run or bundle whose probabilities are learnt beside the labels: distils a larger classifier"
    ] = None
    teacher_share: Annotated[float, "how much they count; the labels count the rest"] = 0.5
    teacher_temperature: Annotated[float, "above 1 flattens them, so that small ones are learnt too"] = 1.0
    unlabelled: Annotated[str | None, "file of texts without labels that the teacher answers, to be learnt too"] = None
    seed: Annotated[int, "of split, head and order of texts"] = 0
    epochs: Annotated[int, "times a tail sees each training text, at most"] = 5
    batch_size: Annotated[int, "texts per step of a tail"] = 8
    accumulation: Annotated[int, "batches that make one step together, as one of so many times the texts would"] = 1
    learning_rate: Annotated[
        float | Literal["auto"], "highest learning rate of AdamW; 'auto' tries some on training rows kept apart"
    ] = 1e-4
    layer_decay: Annotated[float, "rate of each block over that of the block above it, such as 0.9"] = 1.0
    head_rate_factor: Annotated[float, "rate of the head over that of the top block"] = 1.0
    weight_decay: Annotated[float, "weight decay of AdamW"] = 0.1
    weight_decay_of: Annotated[Literal["all", "matrices"], "what decays; 'matrices' spares norms and biases"] = "all"
    clip_norm: Annotated[float | None, "longest gradient allowed; 'none' for no limit"] = 1.0
    warmup_fraction: Annotated[float, "share of the steps in which the learning rate rises"] = 0.1
    schedule: Annotated[Literal["constant", "linear", "cosine"], "how the learning rate changes after the warm-up"] = (
        "linear"
    )
    loss: Annotated[
        Literal["cross-entropy", "focal"], "of a tail; 'focal' gives texts that are right already less weight"
    ] = "cross-entropy"
    focal_gamma: Annotated[float, "how much less: (1 - p)^gamma"] = 2.0
    label_smoothing: Annotated[float, "share of each label that goes to all classes, in a tail's cross-entropy"] = 0.0
    lora_rank: Annotated[int, "rank of LoRA's updates"] = 16
    lora_alpha: Annotated[float, "LoRA's updates count alpha / rank, in rslora alpha / sqrt(rank)"] = 16.0
    lora_dropout: Annotated[float, "share of an update's inputs that a step leaves out"] = 0.0
    lora_targets: Annotated[
        str, "products with updates, commas between: query, key, value, attention_output, gate, up, mlp_out; or all"
    ] = "all"
    lora_kind: Annotated[
        Literal["lora", "dora", "rslora"], "'dora' trains lengths and directions apart, 'rslora' scales otherwise"
    ] = "lora"
    keep_adapter: Annotated[bool, "keep LoRA's updates too, in adapter/ as peft reads them"] = False
    patience: Annotated[int | None, "epochs without better validation before stopping; 'none' for all epochs"] = 2
    ema: Annotated[float | None, "moving average of the weights that is judged and kept, such as 0.99"] = None
    average_last: Annotated[int | None, "epochs whose weights are averaged, judged and kept so"] = None
    max_tokens: Annotated[int | None, "most tokens that are read at once (default: the model's context)"] = None
    long: Annotated[
        Literal["truncate-tail", "truncate-head", "windows"],
        "longer texts: 'truncate-tail' drops their end, 'truncate-head' their beginning, 'windows' reads all of them",
    ] = "truncate-tail"
    stride: Annotated[int | None, "tokens from the start of one window to the next (default: half a window)"] = None
    merge: Annotated[
        Literal["mean", "vote", "max"] | None,
        "one answer from all windows: mean of log-probabilities, of probabilities ('vote'), or maximum (default: mean)",
    ] = None
    threads: Annotated[int | None, "processor threads (default: PyTorch's choice)"] = None
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], "where the model runs"] = "auto"
    cache: Annotated[bool, "reuse stored features; --no-cache computes them afresh"] = True
    quiet: Annotated[bool, "no notes and no progress"] = False
    doubts: Annotated[bool, "look for labels that are probably wrong; --no-doubts leaves that out"] = True
    highlights: Annotated[bool, "shade the words that doubtful and wrong answers hang on; --no-highlights: none"] = True
    baselines: Annotated[
        Literal["auto", "none"] | str | bool,
        "beside it: tfidf, minilm, random (weights, what pretraining brings); 'auto': tfidf, minilm where in the cache",
    ] = "auto"

    def __post_init__(self) -> None:
        for setting in settings().values():
            setting.check(getattr(self, setting.name), setting.name)
        _check_baselines(self)
        refuse_contradictions(self)

    @property
    def weighting(self) -> str | None:
        """What class weights were asked for, by either of two names: "auto", a file, or None or "none"."""
        return "auto" if self.balance == "weights" else self.class_weights

    @property
    def asks_lm_head(self) -> bool:
        """Whether the LM head's rows have a part in it."""
        return self.method == "zero-shot" or self.head_init == "lm"

    @property
    def made_by(self) -> Template | None:
        """How texts are made: as the template says; where the LM head is asked without one, NEXT_WORD."""
        spelled = self.template or (NEXT_WORD if self.asks_lm_head else None)
        return None if spelled is None else Template.parse(spelled)

    @property
    def asked_baselines(self) -> tuple[str, ...]:
        """Kinds of baselines, of BASELINES; ("auto",) where that is left open, none where none are wanted."""
        if isinstance(self.baselines, bool):
            return ("auto",) if self.baselines else ()
        return () if self.baselines == "none" else _names(self.baselines)

    @property
    def slice_columns(self) -> tuple[str, ...]:
        """The columns named in ``slice_by``."""
        return tuple(name for name in _names(self.slice_by) if name != DETECTED_LANGUAGE)

    @property
    def slices_by_language(self) -> bool:
        """Whether ``slice_by`` asks for a guess at the language."""
        return DETECTED_LANGUAGE in _names(self.slice_by)

    def as_json(self) -> dict[str, Any]:
        """Return every field and its value, ready for JSON, in the order of declaration."""
        return {name: getattr(self, name) for name in settings()}


def _names(listed: str | None) -> tuple[str, ...]:
    """The different names in a list with commas, in order."""
    return tuple(dict.fromkeys(name.strip() for name in (listed or "").split(",") if name.strip()))


def _check_baselines(config: TrainConfig) -> None:
    asked = config.asked_baselines
    unknown = [name for name in asked if name not in BASELINES]
    if unknown and asked != ("auto",):
        hint = f"known: {', '.join(BASELINES)}; auto and none stand alone"
        raise ConfigError(f"--baselines {config.baselines}: {unknown[0]!r} is not known", hint=hint)


@functools.cache
def settings() -> Mapping[str, Setting]:
    """Return field name -> Setting for every field of TrainConfig, in the order of declaration."""
    hints = typing.get_type_hints(TrainConfig, include_extras=True)
    defaults = {"model": DEFAULT_MODEL}
    return types.MappingProxyType(
        {
            part.name: described(part, hints[part.name], default=defaults.get(part.name))
            for part in dataclasses.fields(TrainConfig)
        }
    )
