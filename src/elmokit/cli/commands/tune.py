"""`elmo tune`: a model and new text → a model of that text's domain."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from elmokit.cli.parameters import FilePatterns, PathOrName, check_language
from elmokit.cli.training_options import BudgetOptions, RecipeOptions, RunOptions, TextOptions, flat, pretrain_options
from elmokit.pretraining.recipes import RECIPES, RecipeName
from elmokit.text.tokenizers import get_tokenizer

LEARNING_RATES: dict[RecipeName, float] = {"modern": 1e-3, "reference": 0.1}
"""Well below those of pretraining: what is known already shall not be lost at once."""
HEAD_FIRST = 0.1
"""Share of the budget in which a softmax that is wholly new is learned alone."""


@flat
def tune(
    model: PathOrName,
    *,
    texts: TextOptions,
    old: FilePatterns | None = None,
    language: str | None = None,
    tokenizer: str | None = None,
    vocabulary: Literal["keep", "extend", "renew"] = "keep",
    vocab_size: int = 50_000,
    way: RecipeOptions = RecipeOptions(),
    layer_factor: float | None = None,
    head_first: float | None = None,
    budget: BudgetOptions = BudgetOptions(),
    run: RunOptions,
) -> None:
    """Go on training a model on text of another domain; say what it gained there, and what it forgot.

    One of --tokens, --steps, --epochs and --hours says when to stop. Beside OUT stands OUT.training, as for `elmo pretrain`;
    the same command goes on from there after an interruption.

    Args:
        model: A bundled name, a folder, HDF5 with its options, a folder of bilm-tf's training, a zip, an id on the Hub.
        texts: The text to learn from and to measure on.
        old: Text of the domain that the model was trained on: what it forgets of it is measured.
        language: ISO 639 code of the text, by whose rules running text is split; by default the model's.
        tokenizer: Another one than the model's: for models that do not know theirs.
        vocabulary: keep the model's words; extend them by frequent words of the text; renew: choose them by the text.
        vocab_size: Words that the language model predicts, where some are added or all are chosen.
        way: The recipe.
        layer_factor: The rate of each layer as a share of that of the layer above it: 0.5 spares the lower layers.
        head_first: Share of the budget in which the softmax alone is learned; by default 0.1 if it is new, else 0.
        budget: When to stop.
        run: Where the run is, and how it is computed.

    Raises:
        ValueError: An option is wrong, or the text is, or the model cannot be tuned so.
    """
    from elmokit.checkpoints.load import is_here, load_checkpoint
    from elmokit.pretraining.inputs import input_of
    from elmokit.pretraining.reading import DEFAULT_LANGUAGE
    from elmokit.pretraining.tune import table
    from elmokit.pretraining.tune import tune as train
    from elmokit.pretraining.tuning import Start

    if tokenizer is not None:
        get_tokenizer(tokenizer)  # its error comes before anything is read
    if language is not None:
        check_language("--language", language)
    budget.limit()
    checkpoint = load_checkpoint(model)
    name = Path(model).name if is_here(model) else str(model)
    start = Start(checkpoint=checkpoint, name=name, words=vocabulary)
    known = start.checkpoint.config
    gentle = replace(RECIPES[way.recipe], learning_rate=LEARNING_RATES[way.recipe], head_first=start.head_first(HEAD_FIRST))
    reads_in = language or (*known.languages, DEFAULT_LANGUAGE)[0]
    options = pretrain_options(
        texts=texts,
        recipe=way.put_into(gentle, layer_factor=layer_factor, head_first=head_first),
        budget=budget,
        run=run,
        reads_in=reads_in,
        languages=(language,) if language else known.languages,
        bilm=known.bilm,
        read=input_of(known.bilm),
        text=known.text if tokenizer is None else replace(known.text, tokenizer=tokenizer),
        vocabulary_size=vocab_size,
        start=start,
    )
    changes = train(options, texts.source(old, reads_in) if old else None)
    if changes:
        print(f"{run.out}\n\n{table(changes)}")
