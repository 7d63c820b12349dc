"""`elmo perplexity`: how well a model predicts a text."""

import json as json_module
from dataclasses import asdict
from itertools import chain
from typing import Literal

from elmokit.cli.parameters import FileOrStdin, PathOrName


def perplexity(
    model: PathOrName,
    text: FileOrStdin,
    *,
    layout: Literal["lines", "running"] = "lines",
    tokenizer: str | None = None,
    alone: bool = False,
    json: bool = False,
) -> None:
    """Measure forward, backward and mean perplexity of a model on a text; only the first if it reads forward alone.

    The text is one stream in file order; every word and one end mark for each sentence counts once in each direction;
    words outside the vocabulary are scored as `<UNK>`. Models of different vocabularies compare by their bits per character,
    in which each unknown word is spelt out, 8 bits for each of its bytes and for its end.

    Args:
        model: A model with its language-model head: a bundled name, a model folder, a training folder of bilm-tf.
        text: A text file (plain, .gz, .xz, .zst), or - for the standard input.
        layout: lines: one sentence a line. running: one paragraph a line, which is split into sentences.
        tokenizer: Another one than the model's; whitespace for text already split.
        alone: Read each sentence by itself, as `elmo embed` does, and not as part of a stream.
        json: Print one JSON object.

    Raises:
        ValueError: The model has no language-model head; the text is missing, empty or not UTF-8.
    """
    from elmokit.checkpoints.load import load_checkpoint
    from elmokit.lm.load import load_language_model
    from elmokit.lm.perplexity import perplexity as measure
    from elmokit.pretraining.reading import DEFAULT_LANGUAGE, TextSource, read_sentences

    checkpoint = load_checkpoint(model)
    language_model, vocabulary = load_language_model(checkpoint)
    language = (*checkpoint.config.languages, DEFAULT_LANGUAGE)[0]
    sentences = read_sentences(TextSource([str(text)], layout, language), checkpoint.config.text, tokenizer)
    first = next(sentences, None)
    if first is None:
        raise ValueError(f"{text}: holds no text to score; check the file")
    score = measure(language_model, vocabulary, chain([first], sentences), checkpoint.reader, alone=alone)
    if json:
        print(json_module.dumps(asdict(score)))
        return
    print(f"forward   {score.forward:.2f}")
    each = ""
    if score.backward is not None:
        print(f"backward  {score.backward:.2f}\nmean      {score.mean:.2f}")
        each = " in each direction"
    if score.bits_per_character is not None:
        print(f"bits      {score.bits_per_character:.3f} per character, unknown words spelt out")
    print(f"targets   {score.tokens:,}{each}\nunknown   {score.oov:.2%} of the words, scored as <UNK>")
