"""`elmo augment`: more labelled sentences, by words that a language model expects."""

import sys
from typing import Literal

from elmokit.cli.parameters import FileOrStdin, PathOrName


def augment(
    input: FileOrStdin,
    output: FileOrStdin,
    *,
    model: PathOrName = "en-small",
    rate: float = 0.15,
    top_k: int = 10,
    copies: int = 1,
    seed: int = 0,
    keep_original: bool = True,
    format: Literal["conll", "text", "tsv", "csv", "jsonl"] | None = None,
    column: str | None = None,
    header: bool = True,
    token_column: int = 0,
    label_column: int = -1,
    replace_labelled: bool = False,
    tokenizer: str | None = None,
    batch_tokens: int = 8192,
    device: str = "auto",
) -> None:
    """Write labelled sentences anew, with copies in which some words are replaced by words that the model expects there.

    For tasks with few labelled sentences. A word is replaced by one word, so labels stay with their places; marks, numbers
    and capitals stay too. What a place expects is read from the original sentence on both sides, as `elmo fill` does it.

    In a CoNLL file words with a label other than O or _ are not replaced: a verb in the place of a town would have the
    label of a town. Where every word has a label that a replacement should share, as in part-of-speech tagging,
    nothing is left to replace without --replace-labelled.

    Args:
        input: A file, told by its ending. CoNLL (.conll, .bio, .iob, .iob2): a word with its labels on each line, an empty line
            behind each sentence. .tsv, .csv or .jsonl with --column. .txt: one sentence a line. .gz, .xz and .zst are
            unpacked. "-" is standard input, with --format.
        output: A file of the same kind, which is complete or not there, or "-" for standard output.
        model: A model with its language-model head: a bundled name, a model folder, a training folder of bilm-tf.
        rate: Probability with which each word that may be replaced is, above 0; of every sentence one is, at the least.
        top_k: Draw replacements from so many likeliest words, in proportion to their probability.
        copies: New versions of each sentence.
        seed: The same seed draws the same words, on the same machine. What is drawn for a sentence does not depend on others.
        keep_original: Write each sentence before its copies.
        format: What INPUT and OUTPUT are, if their names do not tell.
        column: The column of texts, by name or by number from 0; in .jsonl the key of the text, a string or a list of words.
        header: The first line of a .tsv or .csv names the columns, and is no text.
        token_column: The column of words in a CoNLL file, counted from 0; -1 is the last.
        label_column: The column of labels that keep their words in a CoNLL file.
        replace_labelled: Replace words with labels too.
        tokenizer: What cuts texts into words, "whitespace" for text that is split already; by default the model's.
        batch_tokens: Words computed at once.
        device: "auto" (CUDA if there is one), "cpu", "cuda", …

    Raises:
        ValueError: The model has no language-model head; an option or the file is wrong.
    """
    from elmokit.embedding.augmenting import AugmentOptions, augment_file
    from elmokit.embedding.labelled import Layout
    from elmokit.lm.augment import Augmentation

    try:
        augmentation = Augmentation(rate=rate, top_k=top_k, copies=copies, seed=seed)
    except ValueError as error:
        name, _, wrong = str(error).partition(" ")
        raise ValueError(f"--{name.replace('_', '-')} {wrong}") from error
    layout = Layout(
        kind=format,
        column=column,
        header=header,
        token_column=token_column,
        label_column=label_column,
        replace_labelled=replace_labelled,
    )
    options = AugmentOptions(
        augmentation=augmentation, layout=layout, keep_original=keep_original, tokenizer=tokenizer, batch_tokens=batch_tokens
    )
    print(f"elmo: {augment_file(str(input), str(output), model, options, device)}", file=sys.stderr)
