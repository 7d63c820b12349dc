"""Options that `elmo pretrain` and `elmo tune` share, in groups: the text to read, the recipe, the budget, the run.

On the command line and in files of `--config` every field of a group is an option of its own; `flat` lets a command be called
so from Python too.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_type_hints

from cyclopts import Group, Parameter

from elmokit.cli.parameters import FilePatterns, PathOrName, patterns
from elmokit.config import BiLMConfig, CharCnnConfig
from elmokit.pretraining.recipes import Recipe, RecipeName
from elmokit.training.budget import Budget
from elmokit.training.schedule import ScheduleName

if TYPE_CHECKING:  # torch takes a second to import
    from elmokit.pretraining.options import PretrainOptions
    from elmokit.pretraining.reading import TextSource

Settings = TypeVar("Settings", Recipe, CharCnnConfig, BiLMConfig)


@Parameter(name="*", group=Group("Text", sort_key=1))
@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """The text to learn from and to measure on."""

    corpus: FilePatterns
    """Files, folders or globs of text: plain, .gz, .xz, .zst; - for standard input; hub:NAME for a data set of the Hub."""
    heldout: FilePatterns | None = None
    """Text to measure perplexity on; by default a hundredth of the documents, at most 200,000 tokens."""
    layout: Literal["lines", "running"] = "lines"
    """lines: one sentence a line. running: one paragraph a line, which is split into sentences."""

    def source(self, given: FilePatterns, language: str) -> "TextSource":
        """Give some text of this layout, in a language by whose rules it is split."""
        from elmokit.pretraining.reading import TextSource

        return TextSource(patterns(given), self.layout, language)


@Parameter(name="*", group=Group("Recipe", sort_key=3))
@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """The way of training: a recipe, and what is changed of it."""

    recipe: RecipeName = "modern"
    """modern: AdamW, a rate that rises, stays and falls, sentences read afresh. reference: Adagrad as bilm-tf has it."""
    learning_rate: float | None = None
    """The highest rate; the recipe's by default, and 0.001 (modern) or 0.1 (reference) for `elmo tune`."""
    schedule: ScheduleName | None = None
    """How the rate changes: constant, cosine or trapezoid; the recipe's by default."""
    batch_size: int | None = None
    """Streams side by side; the recipe's by default."""
    window: int | None = None
    """Places over which gradients flow; the recipe's by default."""
    negatives: int | None = None
    """Candidates of the sampled softmax; 0 for the full softmax; the recipe's by default."""
    dropout: float | None = None
    """On each layer's input; the recipe's by default."""
    character_noise: float | None = None
    """Share of the words that are read with a spelling mistake, so that the model learns to bear them."""

    def put_into(self, recipe: Recipe, **own: Any) -> Recipe:
        """Put what was given into a recipe.

        Args:
            recipe: With the command's defaults.
            own: Fields that are options of that command alone; None keeps the default.

        Raises:
            ValueError: Names the option that is out of range.
        """
        way = changed(
            recipe,
            learning_rate=self.learning_rate,
            schedule=self.schedule,
            batch_size=self.batch_size,
            window=self.window,
            dropout=self.dropout,
            character_noise=self.character_noise,
            **own,
        )
        return way if self.negatives is None else replace(way, negatives=self.negatives or None)


@Parameter(name="*", group=Group("Budget", sort_key=4))
@dataclass(frozen=True, kw_only=True)
class BudgetOptions:
    """When to stop."""

    tokens: int | None = None
    """Budget in targets of each direction."""
    steps: int | None = None
    """Budget in updates."""
    epochs: float | None = None
    """Budget in passes over the text."""
    hours: float | None = None
    """Budget in hours of training."""
    patience: int | None = None
    """Stop when so many checkpoints in a row were no better on the held-out text, and take the best one."""

    def limit(self) -> Budget:
        """Give the one that was chosen.

        Raises:
            ValueError: None or several were.
        """
        return Budget(tokens=self.tokens, steps=self.steps, epochs=self.epochs, hours=self.hours)


@Parameter(name="*", group=Group("Run", sort_key=5))
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where the run is, and how it is computed."""

    out: PathOrName
    """The model folder to write."""
    seed: int = 0
    """Of initial values, dropout, candidates and the order of sentences."""
    checkpoint_minutes: float = 10.0
    """Time between checkpoints."""
    keep_checkpoints: int = 2
    """How many of the last checkpoints stay; the best one stays too."""
    accumulate: int = 1
    """Parts in which each batch is computed, one after the other: less memory, the same update."""
    resume: Literal["auto", "never"] = "auto"
    """auto: go on from a checkpoint if there is one. never: begin anew."""
    device: str = "auto"
    """auto, cpu or cuda."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the matrix products. auto: bfloat16 for the modern recipe where the processor has it, else float32."""
    tensorboard: bool = False
    """Write OUT.training/tensorboard too."""


def pretrain_options(
    *, texts: TextOptions, recipe: Recipe, budget: BudgetOptions, run: RunOptions, reads_in: str, **own: Any
) -> "PretrainOptions":
    """Make the options of a run out of the groups.

    Args:
        texts: What to read.
        recipe: The way of training, with all that was given put into it.
        budget: When to stop.
        run: The rest.
        reads_in: Code of the language by whose rules the text is split.
        own: Fields of `PretrainOptions` that the command sets itself.

    Raises:
        ValueError: Names the option that is wrong.
    """
    from elmokit.kernels.device import choose_device
    from elmokit.pretraining.options import PretrainOptions, precision_for

    device = choose_device(run.device, "--device ")
    return PretrainOptions(
        train=texts.source(texts.corpus, reads_in),
        heldout=texts.source(texts.heldout, reads_in) if texts.heldout else None,
        out=Path(run.out),
        recipe=recipe,
        budget=budget.limit(),
        patience=budget.patience,
        seed=run.seed,
        checkpoint_minutes=run.checkpoint_minutes,
        keep_checkpoints=run.keep_checkpoints,
        accumulate=run.accumulate,
        resume=run.resume,
        device=str(device),
        precision=precision_for(recipe, device) if run.precision == "auto" else run.precision,
        tensorboard=run.tensorboard,
        **own,
    )


def flat(command: Callable[..., None]) -> Callable[..., None]:
    """Let Python give a command the fields of its groups as keywords, as the command line does: `tune("en-small", hours=1, …)`.

    The parser, which makes the groups itself, gives them whole.
    """
    groups = {name: kind for name, kind in get_type_hints(command).items() if isinstance(kind, type) and is_dataclass(kind)}

    @wraps(command)
    def call(*arguments: Any, **given: Any) -> None:
        for name, kind in groups.items():
            own = {field.name: given.pop(field.name) for field in fields(kind) if field.name in given}
            if own:
                given[name] = kind(**own)
        command(*arguments, **given)

    return call


def changed(default: Settings, **changes: Any) -> Settings:
    """Put in what was given; None keeps the default.

    Raises:
        ValueError: Names the option that is out of range.
    """
    try:
        return replace(default, **{name: value for name, value in changes.items() if value is not None})
    except ValueError as error:
        name, _, wrong = str(error).partition(" ")
        raise ValueError(f"--{name.replace('_', '-')} {wrong}" if name in changes else str(error)) from error
