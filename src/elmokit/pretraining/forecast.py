"""What a run will take, from what its first steps took on this machine: `--dry-run`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from elmokit.checkpoints.folder import check_target
from elmokit.config import BiLMConfig
from elmokit.pretraining.corpus import Corpus
from elmokit.pretraining.options import PretrainOptions
from elmokit.pretraining.preparing import describe_reading, read_corpus
from elmokit.pretraining.recipes import Recipe
from elmokit.pretraining.run_note import TEXT, check_same_run
from elmokit.pretraining.trial import Trial, try_out


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run will take and reach."""

    tokens: float
    """Targets in each direction."""
    passes: float
    """Over the text."""
    training_hours: float
    """In steps: what `--hours` limits."""
    hours: float
    """With checkpoints and the final measuring."""
    memory: int | None
    """Bytes at most, with the text, which the system takes back if it needs them; None where the system does not say."""


def forecast(trial: Trial, options: PretrainOptions, corpus: Corpus) -> Forecast:
    """Say what a run will take, from what its first steps took."""
    budget, text = options.budget, corpus.train
    step = options.recipe.batch_size * options.recipe.window
    if budget.hours is not None:
        tokens = trial.tokens_per_second * 3600 * budget.hours
    elif budget.tokens is not None:
        tokens = budget.tokens
    elif budget.epochs is not None:
        tokens = budget.epochs * text.targets
    else:
        assert budget.steps is not None
        tokens = budget.steps * step
    training = tokens / trial.tokens_per_second
    pause = max(60 * options.checkpoint_minutes, step / trial.tokens_per_second)
    checkpoints = 1 + training / pause  # one at the end
    mapped = text.tokens.nbytes + text.starts.nbytes if options.device == "cpu" else 0
    return Forecast(
        tokens=tokens,
        passes=tokens / text.targets,
        training_hours=training / 3600,
        hours=(training + checkpoints * trial.checkpoint_seconds + trial.finish_seconds) / 3600,
        memory=None if trial.memory is None else trial.memory + mapped,
    )


def dry_run(options: PretrainOptions) -> str:
    """Read the text and try a run's first steps; say what it will take. The text that was read stays for the run itself.

    Raises:
        ValueError: What the run itself would raise.
    """
    keep_begun_run(options)
    corpus = read_corpus(options)
    trial = try_out(options)
    return "\n".join(
        [describe_reading(corpus, options), recipe_words(options.recipe), *forecast_lines([("", options, trial)], corpus)]
    )


def keep_begun_run(options: PretrainOptions) -> None:
    """Refuse to try what would replace the text of a run that has begun.

    Raises:
        ValueError: OUT holds something else, or a run on another text.
    """
    check_target(options.out)
    if (options.work / "run.json").exists():
        check_same_run(options, TEXT)


Tried = tuple[str, PretrainOptions, Trial | None]
"""A size's name, the options with that size, and what was found: None if memory is too small for it."""


def forecast_lines(tried: Sequence[Tried], corpus: Corpus) -> list[str]:
    """Say of each size what its run will take, a line each."""
    lines = []
    for name, options, trial in tried:
        shape = f"{name + ': ' if name else ''}{shape_words(options.bilm)}"
        if trial is None:
            lines.append(f"{shape}: needs more memory than there is")
            continue
        found = forecast(trial, options, corpus)
        memory = "" if found.memory is None else f", {found.memory / 1e9:.1f} GB of memory"
        lines.append(
            f"{shape}: {trial.body / 1e6:.1f} M parameters and {trial.head / 1e6:.1f} M of the softmax, "
            f"{trial.tokens_per_second:,.0f} tokens/s: {words(found.tokens)} in {duration(found.training_hours)} of training "
            f"({duration(found.hours)} with checkpoints and measuring), {found.passes:.2g} passes{memory}"
        )
    return lines


def shape_words(bilm: BiLMConfig) -> str:
    """Name a size."""
    alone = "" if bilm.bidirectional else ", forward alone"
    return f"LSTM {bilm.layers} × {bilm.cell_dim}, projection {bilm.output_dim}{alone}"


def recipe_words(recipe: Recipe) -> str:
    """Name a way of training."""
    return (
        f"recipe {recipe.optimizer}: batch {recipe.batch_size} × {recipe.window}, learning rate {recipe.learning_rate} "
        f"({recipe.schedule}), dropout {recipe.dropout}, negatives {recipe.negatives or 'none (full softmax)'}"
    )


def words(tokens: float) -> str:
    """Write a number of words shortly."""
    return f"{tokens / 1e6:,.1f} M words" if tokens >= 1e5 else f"{tokens:,.0f} words"


def duration(hours: float) -> str:
    """Write a time as people say it."""
    if hours < 1 / 60:
        return f"{math.ceil(hours * 3600)} s"
    return f"{hours * 60:.0f} min" if hours < 1.5 else f"{hours:,.1f} h"
