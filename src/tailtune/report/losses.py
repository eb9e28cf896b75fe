"""What was made smaller in training, in words, from the contents of metrics.json; for the screen and the report.

The texts are plain: the report escapes them.
"""

from __future__ import annotations

from tailtune.report.words import Metrics, one_line, part

# Of very many classes the rest is counted.
_MOST_CLASSES = 6
# Methods that train blocks.
_TRAINED = ("tail", "lora", "full")
# Settings of the optimiser that are told where they are not as usual.
_UNUSUAL = (
    ("clip_norm", "gradients no longer than", None),
    ("layer_decay", "each block's rate over that of the block above", 1.0),
    ("head_rate_factor", "the head's rate times", 1.0),
    ("ema", "moving average of the weights,", None),
    ("average_last", "weights averaged over the last epochs,", None),
)


def weights_line(metrics: Metrics) -> str:
    """Return one line: the class weights in training, and which class shares the probabilities are for; "" if none."""
    found = part(metrics, "class_weights")
    weights, shares = part(found, "weights"), part(found, "shares")
    if not weights or not shares:
        return ""
    seen = _listed({name: f"{100 * share:.3g} %" for name, share in shares.items()})
    said = f"class weights: {_listed({name: f'{weight:.3g}' for name, weight in weights.items()})}; "
    if found.get("corrected"):
        return f"{said}probabilities came out as for class shares {seen}, and were brought to those asked for"
    return f"{said}probabilities are as for class shares {seen}; --prevalence data gives those of the data"


def loss_line(config: Metrics) -> str:
    """Return one line: the loss of a tail where it is not the plain cross-entropy, else ""; ``config`` of the run."""
    flatter = "its probabilities are flatter than the true ones until they are calibrated"
    if config.get("loss") == "focal":
        return f"focal loss, gamma {config.get('focal_gamma'):g}: {flatter}"
    if smoothing := config.get("label_smoothing"):
        return f"label smoothing {smoothing:g}: {flatter}"
    return ""


def drawn_weights(metrics: Metrics) -> str:
    """Return what is to be said after the model's name where its weights are not the pretrained ones."""
    return " (random weights)" if part(metrics, "config").get("weights") == "random" else ""


def trained_line(metrics: Metrics) -> str:
    """Return one sentence: which blocks were trained, and what share of the weights that is."""
    first, depth = part(metrics, "trained").get("first"), metrics.get("depth")
    trained, weights = (part(metrics, "trained").get(name) for name in ("trained_weights", "weights"))
    if not (isinstance(first, int) and isinstance(trained, int) and isinstance(weights, int) and weights):
        return "The trained blocks, step by step."
    rank = part(metrics, "trained").get("rank")
    how = "" if rank is None else f" by updates of rank {one_line(rank)}"
    share = f"{trained:,} of {weights:,} weights ({100 * trained / weights:.2g} %)"
    return f"Blocks {first + 1} to {one_line(depth)} were trained{how}: {share}."


def rate_line(metrics: Metrics) -> str:
    """Return one line: the learning rate that was found, and how; "" where it was given."""
    found = part(metrics, "learning_rate")
    if found.get("chosen") is None:
        return ""
    share = found.get("share_of_steps")
    cost = "" if share is None else f"; that took {100 * share:.0f} % of the training's steps"
    return f"learning rate {found['chosen']:.2g}, found: {one_line(found.get('reason'))}{cost}"


def descent_line(config: Metrics) -> str:
    """Return one line: how the optimiser was set, ``config`` being that of the run; "" if it says nothing of it."""
    if config.get("batch_size") is None or config.get("learning_rate") is None:
        return ""
    batches = config.get("accumulation") or 1
    texts = f"{config['batch_size']} texts" if batches == 1 else f"{batches} x {config['batch_size']} texts"
    rate = config["learning_rate"]
    said = [
        f"AdamW, {texts} a step",
        "learning rate found by trying" if rate == "auto" else f"learning rate {rate:g}",
        f"{config.get('schedule')} after a warm-up of {100 * (config.get('warmup_fraction') or 0):g} %",
        f"weight decay {config.get('weight_decay')} of {config.get('weight_decay_of', 'all')}",
        *(f"{words} {config[name]:g}" for name, words, usual in _UNUSUAL if config.get(name, usual) != usual),
    ]
    return ", ".join(said)


def losses_lines(metrics: Metrics) -> list[str]:
    """Return the lines of a run that has been trained: its class weights, and the rate and loss of its tail, if any."""
    own = (rate_line(metrics), loss_line(part(metrics, "config"))) if metrics.get("method") in _TRAINED else ()
    return [line for line in (weights_line(metrics), *own) if line]


def _listed(values: dict[str, str]) -> str:
    named = [f"{one_line(name)} {value}" for name, value in list(values.items())[:_MOST_CLASSES]]
    left = len(values) - len(named)
    return ", ".join(named) + (f" and {left} more" if left else "")
