"""What to train on this text, on this machine, in this time: `--preset auto`.

Sizes are tried from the smallest up. Taken is the largest whose parameters each meet enough text within the time:

    D = U (1 + R (1 − exp(−(passes − 1) / R)))        U words of text, read `passes` times, are worth D new ones
    D ≥ ENOUGH · parameters of the biLM

A text that is read again is worth less each time (Muennighoff et al. 2023, "Scaling data-constrained language models",
section 3.1: R = 15).
"""

import json
import math
from dataclasses import asdict, replace
from typing import Any

from elmokit.atomic import atomic_path
from elmokit.config import BiLMConfig
from elmokit.errors import FormatError
from elmokit.pretraining.corpus import Corpus, Shard
from elmokit.pretraining.forecast import Tried, duration, forecast, forecast_lines, keep_begun_run, recipe_words, words
from elmokit.pretraining.options import PretrainOptions
from elmokit.pretraining.preparing import describe_reading, read_corpus
from elmokit.pretraining.recipes import PRESETS
from elmokit.pretraining.run_note import has_begun, identity
from elmokit.pretraining.trial import Trial, try_out
from elmokit.text.vocabulary import SPECIAL_WORDS

ENOUGH = 4.0
"""Words for each parameter; docs/pretraining.md has the runs that it is read from."""
REPEATS = 15.0
"""R."""
OFTEN, MOST_WORDS = 5, 100_000
"""A word of the vocabulary occurs so often at least, and there are so many at most."""
DROPOUT = ((1.5, 0.0), (6.0, 0.1), (20.0, 0.25), (math.inf, 0.4))
"""Below so many passes over the text, so much dropout."""
PATIENCE = 5
"""Checkpoints without a gain, one after the other, that end a run that was planned here."""


def plan(options: PretrainOptions, *, choose_vocabulary: bool, choose_dropout: bool) -> tuple[PretrainOptions, str]:
    """Choose size, vocabulary, dropout and patience; a run that has begun keeps what was chosen for it.

    Args:
        options: What was asked for, with a budget of hours; its shape gives what all sizes share.
        choose_vocabulary: Whether the vocabulary's size was left open.
        choose_dropout: Whether the dropout was left open.

    Returns:
        The options of the run, and what was found and why, in lines.

    Raises:
        ValueError: There is no budget of hours, or memory is too small for any size.
        FormatError: The note of an earlier plan is damaged.
    """
    if options.budget.hours is None:
        raise ValueError("--preset auto plans for a time: give --hours, and none of --tokens, --steps and --epochs")
    asked = _asked(options, choose_vocabulary, choose_dropout)
    noted = _noted(options)
    if noted is not None and noted["asked"] == asked:
        return _with(options, noted["chosen"]), noted["why"]
    if options.resume == "auto":
        keep_begun_run(options)
    if noted is not None and has_begun(options):
        # Budget, device and the like may change while a run goes on; what it trains may not, and `pretrain` will say so.
        return _with(options, noted["chosen"]), noted["why"]
    corpus = read_corpus(options)
    size, known = vocabulary_size(corpus.train)
    if choose_vocabulary:
        options = replace(options, vocabulary_size=size)
    tried = _tried(options, corpus)
    name, sized, trial = _largest(tried, corpus)
    found = forecast(trial, sized, corpus)
    dropout = dropout_for(found.passes) if choose_dropout else options.recipe.dropout
    chosen = {"preset": name, "vocabulary_size": options.vocabulary_size, "dropout": dropout}
    options = _with(options, chosen)
    lines = [
        describe_reading(corpus, options),
        recipe_words(replace(options.recipe, dropout=dropout)),
        *forecast_lines(tried, corpus),
        f"size {name}: {_reason(tried, name, corpus)}",
        f"vocabulary {options.vocabulary_size:,}: "
        + (f"the words that occur {OFTEN} times or more, {known:.1%} of the text" if choose_vocabulary else "as asked for"),
        f"dropout {dropout}: the text is read {found.passes:.2g} times; training ends early after {options.patience} "
        "checkpoints without a gain on the held-out text",
    ]
    why = "\n".join(lines)
    _note(options, {"asked": asked, "chosen": chosen, "forecast": asdict(found), "why": why})
    return options, why


def _asked(options: PretrainOptions, choose_vocabulary: bool, choose_dropout: bool) -> dict[str, Any]:
    """What a plan is made for."""
    machine = {
        "hours": options.budget.hours,
        "precision": options.precision,
        "device": options.device,
        "accumulate": options.accumulate,
        "patience": options.patience,
        "choose_vocabulary": choose_vocabulary,
        "choose_dropout": choose_dropout,
    }
    asked: dict[str, Any] = json.loads(json.dumps(identity(options) | machine))
    return asked


def worth(tokens: float, text: float) -> float:
    """Give D: as how many new words so many count, of a text of so many that is read again and again."""
    repeats = max(0.0, tokens / text - 1)
    return min(tokens, text) - text * REPEATS * math.expm1(-repeats / REPEATS)


def vocabulary_size(text: Shard) -> tuple[int, float]:
    """Give how many words a vocabulary should have, marks included, and their share of the text."""
    counts_N = text.counts(len(SPECIAL_WORDS) + 1)
    often = int((counts_N[len(SPECIAL_WORDS) :] >= OFTEN).sum())
    size = min(MOST_WORDS, len(SPECIAL_WORDS) + max(often, 1))
    return size, float(counts_N[:size].sum() / counts_N.sum())


def dropout_for(passes: float) -> float:
    """Give the dropout for a text that is read so often."""
    return next(dropout for most, dropout in DROPOUT if passes < most)


def _tried(options: PretrainOptions, corpus: Corpus) -> list[Tried]:
    """Try sizes, from the smallest up, until one is too large for the time or the memory."""
    tried: list[Tried] = []
    for name in PRESETS:
        sized = replace(options, bilm=_sized(name, options.bilm))
        trial = try_out(sized)
        tried.append((name, sized, trial))
        if trial is None or _per_parameter(trial, sized, corpus) < ENOUGH:
            break
    return tried


def _largest(tried: list[Tried], corpus: Corpus) -> tuple[str, PretrainOptions, Trial]:
    """Give the largest size that meets enough text; the smallest if none does.

    Raises:
        ValueError: Memory is too small for any.
    """
    fit = [(name, options, trial) for name, options, trial in tried if trial is not None]
    if not fit:
        raise ValueError("--preset auto: memory is too small for any size; a smaller --batch-size or --accumulate needs less")
    enough = [size for size in fit if _per_parameter(size[2], size[1], corpus) >= ENOUGH]
    return (enough or fit[:1])[-1]


def _per_parameter(trial: Trial, options: PretrainOptions, corpus: Corpus) -> float:
    """How many words a parameter meets, repeated ones counted for what they are worth."""
    return worth(forecast(trial, options, corpus).tokens, corpus.train.targets) / trial.body


def _reason(tried: list[Tried], name: str, corpus: Corpus) -> str:
    """Say why this size and not the next one."""
    sizes = [tried_name for tried_name, _, _ in tried]
    place = sizes.index(name)
    _, options, trial = tried[place]
    assert trial is not None, "it was chosen"
    tokens = forecast(trial, options, corpus).tokens
    value = f"{words(worth(tokens, corpus.train.targets))} for {trial.body / 1e6:.1f} M parameters"
    here = f"{value} ({_per_parameter(trial, options, corpus):.1f} for each, {ENOUGH:g} wanted)"
    if place + 1 == len(sizes):
        return f"in {duration(options.budget.hours or 0)} it meets {here}"
    after, larger, next_trial = tried[place + 1]
    if next_trial is None:
        return f"it meets {here}; memory is too small for {after}"
    return f"it meets {here}; {after} would meet {_per_parameter(next_trial, larger, corpus):.1f}"


def _sized(name: str, shared: BiLMConfig) -> BiLMConfig:
    """A preset with what all sizes share."""
    preset = next(shape for known, shape in PRESETS.items() if known == name)
    cnn = replace(preset.byte_cnn, max_characters=shared.byte_cnn.max_characters)
    return replace(preset, char_cnn=cnn, bidirectional=shared.bidirectional)


def _with(options: PretrainOptions, chosen: dict[str, Any]) -> PretrainOptions:
    """The options with what was chosen."""
    return replace(
        options,
        bilm=_sized(chosen["preset"], options.bilm),
        vocabulary_size=chosen["vocabulary_size"],
        recipe=replace(options.recipe, dropout=chosen["dropout"]),
        patience=options.patience or PATIENCE,
    )


def _noted(options: PretrainOptions) -> dict[str, Any] | None:
    """The plan of an earlier call, if the run goes on from there.

    Raises:
        FormatError: It is damaged.
    """
    path = options.work / "plan.json"
    if options.resume == "never" or not path.exists():
        return None
    try:
        noted = dict(json.loads(path.read_text(encoding="utf-8")))
        return {name: noted[name] for name in ("asked", "chosen", "why")}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FormatError(f"{path}: the note of an earlier plan is damaged ({error}); delete it to plan anew") from error


def _note(options: PretrainOptions, content: dict[str, Any]) -> None:
    """Keep the plan."""
    with atomic_path(options.work / "plan.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
