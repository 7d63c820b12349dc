"""`elmo tune`: a model and new text → a model of that text's domain."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from elmokit.cli.commands.pretrain import changed
from elmokit.cli.parameters import FilePatterns, PathOrName, check_language, patterns
from elmokit.pretraining.recipes import RECIPES, RecipeName
from elmokit.text.tokenizers import get_tokenizer
from elmokit.training.schedule import ScheduleName

LEARNING_RATES: dict[RecipeName, float] = {"modern": 1e-3, "reference": 0.1}
"""Well below those of pretraining: what is known already shall not be lost at once."""
HEAD_FIRST = 0.1
"""Share of the budget in which a softmax that is wholly new is learned alone."""


def tune(
    model: PathOrName,
    *,
    corpus: FilePatterns,
    out: PathOrName,
    heldout: FilePatterns | None = None,
    old: FilePatterns | None = None,
    layout: Literal["lines", "running"] = "lines",
    language: str | None = None,
    tokenizer: str | None = None,
    vocabulary: Literal["keep", "extend", "renew"] = "keep",
    vocab_size: int = 50_000,
    recipe: RecipeName = "modern",
    learning_rate: float | None = None,
    layer_factor: float | None = None,
    head_first: float | None = None,
    schedule: ScheduleName | None = None,
    batch_size: int | None = None,
    window: int | None = None,
    negatives: int | None = None,
    dropout: float | None = None,
    character_noise: float | None = None,
    tokens: int | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    hours: float | None = None,
    patience: int | None = None,
    seed: int = 0,
    checkpoint_minutes: float = 10.0,
    keep_checkpoints: int = 2,
    accumulate: int = 1,
    resume: Literal["auto", "never"] = "auto",
    device: str = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    tensorboard: bool = False,
) -> None:
    """Go on training a model on text of another domain; say what it gained there, and what it forgot.

    One of --tokens, --steps, --epochs and --hours says when to stop. Beside OUT stands OUT.training, as for `elmo pretrain`;
    the same command goes on from there after an interruption.

    Args:
        model: A bundled name, a folder, HDF5 with its options, a folder of bilm-tf's training, a zip, an id on the Hub.
        corpus: Files, folders or globs of text: plain, .gz, .xz, .zst; - for standard input; hub:NAME for a data set of the Hub.
        out: The model folder to write.
        heldout: Text to measure perplexity on; by default a hundredth of the documents, at most 200,000 tokens.
        old: Text of the domain that the model was trained on: what it forgets of it is measured.
        layout: lines: one sentence a line. running: one paragraph a line, which is split into sentences.
        language: ISO 639 code of the text, by whose rules running text is split; by default the model's.
        tokenizer: Another one than the model's: for models that do not know theirs.
        vocabulary: keep the model's words; extend them by frequent words of the text; renew: choose them by the text.
        vocab_size: Words that the language model predicts, where some are added or all are chosen.
        recipe: modern or reference; see `elmo pretrain`.
        learning_rate: The highest rate; by default 0.001 (modern) or 0.1 (reference).
        layer_factor: The rate of each layer as a share of that of the layer above it: 0.5 spares the lower layers.
        head_first: Share of the budget in which the softmax alone is learned; by default 0.1 if it is new, else 0.
        schedule: How the rate changes: constant, cosine or trapezoid; the recipe's by default.
        batch_size: Streams side by side; the recipe's by default.
        window: Places over which gradients flow; the recipe's by default.
        negatives: Candidates of the sampled softmax; 0 for the full softmax; the recipe's by default.
        dropout: On each layer's input; the recipe's by default.
        character_noise: Share of the words that are read with a spelling mistake, so that the model learns to bear them.
        tokens: Budget in targets of each direction.
        steps: Budget in updates.
        epochs: Budget in passes over the text.
        hours: Budget in hours of training.
        patience: Stop when so many checkpoints in a row were no better on the held-out text, and take the best one.
        seed: Of new values, dropout, candidates and the order of sentences.
        checkpoint_minutes: Time between checkpoints.
        keep_checkpoints: How many of the last checkpoints stay; the best one stays too.
        accumulate: Parts in which each batch is computed, one after the other: less memory, the same update.
        resume: auto: go on from a checkpoint if there is one. never: begin anew.
        device: auto, cpu or cuda.
        precision: Of the matrix products. auto: bfloat16 for the modern recipe where the processor has it, else float32.
        tensorboard: Write OUT.training/tensorboard too.

    Raises:
        ValueError: An option is wrong, or the text is, or the model cannot be tuned so.
    """
    from elmokit.checkpoints.load import is_here, load_checkpoint
    from elmokit.kernels.device import choose_device
    from elmokit.pretraining.inputs import input_of
    from elmokit.pretraining.options import PretrainOptions, precision_for
    from elmokit.pretraining.reading import DEFAULT_LANGUAGE, TextSource
    from elmokit.pretraining.tune import table
    from elmokit.pretraining.tune import tune as run
    from elmokit.pretraining.tuning import Start
    from elmokit.training.budget import Budget

    if tokenizer is not None:
        get_tokenizer(tokenizer)  # its error comes before anything is read
    if language is not None:
        check_language("--language", language)
    budget = Budget(tokens=tokens, steps=steps, epochs=epochs, hours=hours)
    checkpoint = load_checkpoint(model)
    name = Path(model).name if is_here(model) else str(model)
    start = Start(checkpoint=checkpoint, name=name, words=vocabulary)
    known = start.checkpoint.config
    way = changed(
        RECIPES[recipe],
        learning_rate=LEARNING_RATES[recipe] if learning_rate is None else learning_rate,
        layer_factor=layer_factor,
        head_first=start.head_first(HEAD_FIRST) if head_first is None else head_first,
        schedule=schedule,
        batch_size=batch_size,
        window=window,
        dropout=dropout,
        character_noise=character_noise,
    )
    if negatives is not None:
        way = replace(way, negatives=negatives or None)
    spoken = language or (*known.languages, DEFAULT_LANGUAGE)[0]
    where = choose_device(device, "--device ")
    options = PretrainOptions(
        train=TextSource(patterns(corpus), layout, spoken),
        heldout=TextSource(patterns(heldout), layout, spoken) if heldout else None,
        languages=(language,) if language else known.languages,
        out=Path(out),
        bilm=known.bilm,
        read=input_of(known.bilm),
        text=known.text if tokenizer is None else replace(known.text, tokenizer=tokenizer),
        recipe=way,
        vocabulary_size=vocab_size,
        budget=budget,
        seed=seed,
        checkpoint_minutes=checkpoint_minutes,
        keep_checkpoints=keep_checkpoints,
        accumulate=accumulate,
        resume=resume,
        device=str(where),
        precision=precision_for(way, where) if precision == "auto" else precision,
        patience=patience,
        tensorboard=tensorboard,
        start=start,
    )
    changes = run(options, TextSource(patterns(old), layout, spoken) if old else None)
    if changes:
        print(f"{out}\n\n{table(changes)}")
