"""`elmo pretrain`: text → a model folder."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from elmokit.cli.parameters import FilePatterns, PathOrName, check_language, patterns
from elmokit.config import BiLMConfig, CharCnnConfig, Normalization, TextConfig
from elmokit.pretraining.recipes import PRESETS, RECIPES, PresetName, Recipe, RecipeName
from elmokit.text.tokenizers import get_tokenizer
from elmokit.text.vocabulary import Vocabulary
from elmokit.training.schedule import ScheduleName

Settings = TypeVar("Settings", Recipe, CharCnnConfig, BiLMConfig)
VOCABULARY_SIZE = 50_000


def pretrain(
    *,
    corpus: FilePatterns,
    out: PathOrName,
    heldout: FilePatterns | None = None,
    layout: Literal["lines", "running"] = "lines",
    language: str | None = None,
    tokenizer: str = "words",
    normalization: Normalization = "none",
    lowercase: bool = False,
    preset: PresetName | Literal["auto"] = "small",
    input: Literal["characters", "words", "both"] = "characters",
    cell_dim: int | None = None,
    projection_dim: int | None = None,
    filters: str | None = None,
    highways: int | None = None,
    max_characters: int | None = None,
    layers: int | None = None,
    bidirectional: bool = True,
    vocab_size: int | None = None,
    vocab_file: PathOrName | None = None,
    recipe: RecipeName = "modern",
    learning_rate: float | None = None,
    schedule: ScheduleName | None = None,
    batch_size: int | None = None,
    window: int | None = None,
    negatives: int | None = None,
    dropout: float | None = None,
    fresh_sentences: bool | None = None,
    character_noise: float | None = None,
    shuffle: bool = True,
    tokens: int | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    hours: float | None = None,
    seed: int = 0,
    checkpoint_minutes: float = 10.0,
    keep_checkpoints: int = 2,
    accumulate: int = 1,
    resume: Literal["auto", "never"] = "auto",
    device: str = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    patience: int | None = None,
    tensorboard: bool = False,
    dry_run: bool = False,
) -> None:
    """Train an ELMo on text of your own.

    One of --tokens, --steps, --epochs and --hours says when to stop. Beside OUT stands OUT.training with the shards,
    log.jsonl and the checkpoint; the same command goes on from there after an interruption.

    Args:
        corpus: Files, folders or globs of text: plain, .gz, .xz, .zst; - for standard input; hub:NAME for a data set of the Hub.
        out: The model folder to write.
        heldout: Text to measure perplexity on; by default a hundredth of the documents, at most 200,000 tokens.
        layout: lines: one sentence a line. running: one paragraph a line, which is split into sentences.
        language: ISO 639 code of the text: kept with the model; running text is split by its rules (en if not given).
        tokenizer: whitespace, words or characters (each Han character a token).
        normalization: Unicode normalization of each token: none, NFC or NFKC.
        lowercase: Whether tokens are lowercased.
        preset: The size: tiny, mini, or one of the published small, medium, original, which the options that follow change.
            auto: planned by the text, this machine and --hours; vocabulary and dropout too, if they are not given.
        input: What word vectors are made of: characters, a table of words (tied to the softmax), or both joined.
        cell_dim: Width of an LSTM cell.
        projection_dim: Width of one direction's vectors.
        filters: Convolutions as WIDTHxNUMBER, with commas: 1x32,2x32,3x64.
        highways: Highway layers.
        max_characters: Bytes that are read of a word, with two marks; longer words are cut.
        layers: LSTM layers in each direction.
        bidirectional: Whether sentences are read from their end too; without it a plain forward language model is trained.
        vocab_size: Words that the language model predicts, three special ones included; by default 50,000.
        vocab_file: A vocab.txt with the words to predict, in place of the most frequent ones of the text.
        recipe: modern: AdamW, a rate that rises, stays and falls, sentences read afresh. reference: Adagrad as bilm-tf has it.
        learning_rate: The highest rate; the recipe's by default.
        schedule: How the rate changes: constant, cosine or trapezoid; the recipe's by default.
        batch_size: Streams side by side; the recipe's by default.
        window: Places over which gradients flow; the recipe's by default.
        negatives: Candidates of the sampled softmax; 0 for the full softmax; the recipe's by default.
        dropout: On each layer's input; the recipe's by default.
        fresh_sentences: Whether a sentence that begins with a window is read without what came before; the recipe's by default.
        character_noise: Share of the words that are read with a spelling mistake, so that the model learns to bear them.
        shuffle: Whether sentences are shuffled at every pass.
        tokens: Budget in targets of each direction.
        steps: Budget in updates.
        epochs: Budget in passes over the text.
        hours: Budget in hours of training.
        seed: Of initial values, dropout, candidates and the order of sentences.
        checkpoint_minutes: Time between checkpoints.
        keep_checkpoints: How many of the last checkpoints stay; the best one stays too.
        accumulate: Parts in which each batch is computed, one after the other: less memory, the same update.
        resume: auto: go on from a checkpoint if there is one. never: begin anew.
        device: auto, cpu or cuda.
        precision: Of the matrix products. auto: bfloat16 for the modern recipe where the processor has it, else float32.
        patience: Stop when so many checkpoints in a row were no better on the held-out text, and take the best one.
        tensorboard: Write OUT.training/tensorboard too.
        dry_run: Read the text, time some steps, print what the run will take, and stop.

    Raises:
        ValueError: An option is wrong, or the text is.
    """
    cnn = {"filters": None if filters is None else parse_filters(filters), "highways": highways, "max_characters": max_characters}
    sizes = {"cell_dim": cell_dim, "projection_dim": projection_dim, "layers": layers}
    given = [name for name, value in {**sizes, "filters": filters, "highways": highways}.items() if value is not None]
    if preset == "auto" and given:
        raise ValueError(f"--{given[0].replace('_', '-')} changes a preset, and --preset auto chooses one: give one of the two")
    start = PRESETS["small" if preset == "auto" else preset]
    shape = changed(start, char_cnn=changed(start.byte_cnn, **cnn), **sizes, bidirectional=bidirectional)
    way = changed(
        RECIPES[recipe],
        learning_rate=learning_rate,
        schedule=schedule,
        batch_size=batch_size,
        window=window,
        dropout=dropout,
        fresh_sentences=fresh_sentences,
        character_noise=character_noise,
    )
    if negatives is not None:
        way = replace(way, negatives=negatives or None)
    if vocab_file is not None and vocab_size is not None:
        raise ValueError("--vocab-size chooses words by the text, and --vocab-file names them: give one of the two")
    given_words = None if vocab_file is None else Vocabulary.load(vocab_file)
    if vocab_size is None:
        words_at_most = VOCABULARY_SIZE if given_words is None else len(given_words)
    else:
        words_at_most = vocab_size
    get_tokenizer(tokenizer)  # its error comes before anything is written
    if language is not None:
        check_language("--language", language)
    text = TextConfig(tokenizer=tokenizer, normalization=normalization, lowercase=lowercase)
    # torch takes a second to import: only now, when all that can be wrong at once has been checked
    from elmokit.kernels.device import choose_device
    from elmokit.pretraining.forecast import dry_run as try_steps
    from elmokit.pretraining.options import PretrainOptions, precision_for
    from elmokit.pretraining.planner import plan
    from elmokit.pretraining.pretrain import pretrain as run
    from elmokit.pretraining.reading import DEFAULT_LANGUAGE, TextSource
    from elmokit.training.budget import Budget
    from elmokit.training.ranks import check_alone, first_process

    where = choose_device(device, "--device ")
    options = PretrainOptions(
        train=TextSource(patterns(corpus), layout, language or DEFAULT_LANGUAGE),
        heldout=TextSource(patterns(heldout), layout, language or DEFAULT_LANGUAGE) if heldout else None,
        languages=(language,) if language else (),
        out=Path(out),
        bilm=shape,
        read=input,
        text=text,
        recipe=way,
        vocabulary_size=words_at_most,
        vocabulary=given_words,
        budget=Budget(tokens=tokens, steps=steps, epochs=epochs, hours=hours),
        seed=seed,
        shuffle=shuffle,
        checkpoint_minutes=checkpoint_minutes,
        keep_checkpoints=keep_checkpoints,
        accumulate=accumulate,
        resume=resume,
        device=str(where),
        precision=precision_for(way, where) if precision == "auto" else precision,
        patience=patience,
        tensorboard=tensorboard,
    )
    if preset == "auto" or dry_run:
        check_alone("--preset auto" if preset == "auto" else "--dry-run")
    if preset == "auto":
        options, why = plan(options, choose_vocabulary=vocab_size is None and given_words is None, choose_dropout=dropout is None)
        print(why, file=sys.stdout if dry_run else sys.stderr, flush=True)
    elif dry_run:
        print(try_steps(options))
    if dry_run:
        return
    score = run(options)
    if first_process():
        print(f"{out}: held-out perplexity {score.words(2)}")


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


def parse_filters(text: str) -> tuple[tuple[int, int], ...]:
    """Read `1x32,2x32,3x64`.

    Raises:
        ValueError: It is written otherwise.
    """
    try:
        pairs = [tuple(int(number) for number in part.split("x")) for part in text.split(",")]
        return tuple((width, number) for width, number in pairs)
    except ValueError as error:
        raise ValueError(f"--filters must be WIDTHxNUMBER with commas between, such as 1x32,2x32,3x64, not {text!r}") from error
