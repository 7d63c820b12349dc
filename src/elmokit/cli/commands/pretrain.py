"""`elmo pretrain`: text → a model folder."""

import sys
from dataclasses import dataclass
from typing import Literal

from cyclopts import Group, Parameter

from elmokit.cli.parameters import PathOrName, check_language
from elmokit.cli.training_options import BudgetOptions, RecipeOptions, RunOptions, TextOptions, changed, flat, pretrain_options
from elmokit.config import BiLMConfig, Normalization, TextConfig
from elmokit.pretraining.recipes import PRESETS, RECIPES, PresetName
from elmokit.text.tokenizers import get_tokenizer
from elmokit.text.vocabulary import Vocabulary

VOCABULARY_SIZE = 50_000


@Parameter(name="*", group=Group("Size", sort_key=2))
@dataclass(frozen=True, kw_only=True)
class SizeOptions:
    """The shape: a preset, and what is changed of it."""

    preset: PresetName | Literal["auto"] = "small"
    """The size: tiny, mini, or one of the published small, medium, original, which the options that follow change.
    auto: planned by the text, this machine and --hours; vocabulary and dropout too, if they are not given."""
    input: Literal["characters", "words", "both"] = "characters"
    """What word vectors are made of: characters, a table of words (tied to the softmax), or both joined."""
    cell_dim: int | None = None
    """Width of an LSTM cell."""
    projection_dim: int | None = None
    """Width of one direction's vectors."""
    filters: str | None = None
    """Convolutions as WIDTHxNUMBER, with commas: 1x32,2x32,3x64."""
    highways: int | None = None
    """Highway layers."""
    max_characters: int | None = None
    """Bytes that are read of a word, with two marks; longer words are cut."""
    layers: int | None = None
    """LSTM layers in each direction."""
    bidirectional: bool = True
    """Whether sentences are read from their end too; without it a plain forward language model is trained."""

    def bilm(self) -> BiLMConfig:
        """Give the shape; of `auto` that which all sizes share.

        Raises:
            ValueError: Names the option that is wrong.
        """
        filters = None if self.filters is None else parse_filters(self.filters)
        if self.preset == "auto":
            for name in ("cell_dim", "projection_dim", "layers", "filters", "highways"):
                if getattr(self, name) is not None:
                    option = f"--{name.replace('_', '-')}"
                    raise ValueError(f"{option} changes a preset, and --preset auto chooses one: give one of the two")
        start = PRESETS["small" if self.preset == "auto" else self.preset]
        cnn = changed(start.byte_cnn, filters=filters, highways=self.highways, max_characters=self.max_characters)
        sizes = {"cell_dim": self.cell_dim, "projection_dim": self.projection_dim, "layers": self.layers}
        return changed(start, char_cnn=cnn, **sizes, bidirectional=self.bidirectional)


@flat
def pretrain(
    *,
    texts: TextOptions,
    language: str | None = None,
    tokenizer: str = "words",
    normalization: Normalization = "none",
    lowercase: bool = False,
    vocab_size: int | None = None,
    vocab_file: PathOrName | None = None,
    size: SizeOptions = SizeOptions(),
    way: RecipeOptions = RecipeOptions(),
    fresh_sentences: bool | None = None,
    shuffle: bool = True,
    budget: BudgetOptions = BudgetOptions(),
    run: RunOptions,
    dry_run: bool = False,
) -> None:
    """Train an ELMo on text of your own.

    One of --tokens, --steps, --epochs and --hours says when to stop. Beside OUT stands OUT.training with the shards,
    log.jsonl and the checkpoint; the same command goes on from there after an interruption.

    Args:
        texts: The text to learn from and to measure on.
        language: ISO 639 code of the text: kept with the model; running text is split by its rules (en if not given).
        tokenizer: whitespace, words or characters (each Han character a token).
        normalization: Unicode normalization of each token: none, NFC or NFKC.
        lowercase: Whether tokens are lowercased.
        vocab_size: Words that the language model predicts, three special ones included; by default 50,000.
        vocab_file: A vocab.txt with the words to predict, in place of the most frequent ones of the text.
        size: The shape.
        way: The recipe.
        fresh_sentences: Whether a sentence that begins with a window is read without what came before; the recipe's by default.
        shuffle: Whether sentences are shuffled at every pass.
        budget: When to stop.
        run: Where the run is, and how it is computed.
        dry_run: Read the text, time some steps, print what the run will take, and stop.

    Raises:
        ValueError: An option is wrong, or the text is.
    """
    shape = size.bilm()
    recipe = way.put_into(RECIPES[way.recipe], fresh_sentences=fresh_sentences)
    vocabulary, words_at_most = _vocabulary(vocab_size, vocab_file)
    get_tokenizer(tokenizer)  # its error comes before anything is written
    if language is not None:
        check_language("--language", language)
    # torch takes a second to import: only now, when all that can be wrong at once has been checked
    from elmokit.pretraining.forecast import dry_run as try_steps
    from elmokit.pretraining.planner import plan
    from elmokit.pretraining.pretrain import pretrain as train
    from elmokit.pretraining.reading import DEFAULT_LANGUAGE
    from elmokit.training.ranks import check_alone, first_process

    options = pretrain_options(
        texts=texts,
        recipe=recipe,
        budget=budget,
        run=run,
        reads_in=language or DEFAULT_LANGUAGE,
        languages=(language,) if language else (),
        bilm=shape,
        read=size.input,
        text=TextConfig(tokenizer=tokenizer, normalization=normalization, lowercase=lowercase),
        vocabulary_size=words_at_most,
        vocabulary=vocabulary,
        shuffle=shuffle,
    )
    if size.preset == "auto" or dry_run:
        check_alone("--preset auto" if size.preset == "auto" else "--dry-run")
    if size.preset == "auto":
        chosen = vocab_size is not None or vocabulary is not None
        options, why = plan(options, choose_vocabulary=not chosen, choose_dropout=way.dropout is None)
        print(why, file=sys.stdout if dry_run else sys.stderr, flush=True)
    elif dry_run:
        print(try_steps(options))
    if dry_run:
        return
    score = train(options)
    if first_process():
        print(f"{run.out}: held-out perplexity {score.words(2)}")


def _vocabulary(size: int | None, file: PathOrName | None) -> tuple[Vocabulary | None, int]:
    """Give the words of a file, if there is one, and how many are predicted at the most.

    Raises:
        ValueError: Both are given, or the file is no vocabulary.
    """
    if file is None:
        return None, VOCABULARY_SIZE if size is None else size
    if size is not None:
        raise ValueError("--vocab-size chooses words by the text, and --vocab-file names them: give one of the two")
    vocabulary = Vocabulary.load(file)
    return vocabulary, len(vocabulary)


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
