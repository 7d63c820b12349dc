"""`elmo fill`: which words a language model expects at a place."""

import json as json_module
from typing import TYPE_CHECKING

from elmokit.cli.parameters import PathOrName

if TYPE_CHECKING:
    from elmokit.lm.fill import Fill


def fill(
    text: str,
    *,
    model: PathOrName = "en-small",
    k: int = 10,
    mask: str = "[MASK]",
    tokenizer: str | None = None,
    device: str = "auto",
    json: bool = False,
) -> None:
    """Give the likeliest words at the place of [MASK]: from the words before it, from those behind it, and from both.

    `<UNK>` stands for all words outside the model's vocabulary.

    Args:
        text: One sentence with [MASK] in it: "The [MASK] barks ."
        model: A model with its language-model head: a bundled name, a model folder, a training folder of bilm-tf.
        k: How many candidates.
        mask: Another mark of the place.
        tokenizer: What cuts the text into words, "whitespace" for text that is split already; by default the model's.
        device: "auto" (CUDA if there is one), "cpu", "cuda", …
        json: Print one JSON object: {"joint": [["dog", 0.1], …], "forward": …, "backward": …}.

    Raises:
        ValueError: The place is not marked, or more than once; the model has no language-model head, or reads forward alone.
    """
    if not mask or text.count(mask) != 1:
        found = text.count(mask) if mask else 0
        raise ValueError(f"TEXT must have the mark {mask or '[MASK]'} once, at the place to fill, not {found} times; see --mask")
    from elmokit.embedding.elmo import Elmo
    from elmokit.text.tokenizers import get_tokenizer

    elmo = Elmo.from_pretrained(model, device=device)
    tokenize = get_tokenizer(tokenizer or elmo.config.text.tokenizer)
    before, behind = ([token.text for token in tokenize(part)] for part in text.split(mask))
    found_words = elmo.fill([*before, mask, *behind], len(before), k)
    if json:
        lists = {way: getattr(found_words, way) for way in ("joint", "forward", "backward")}
        print(json_module.dumps(lists, ensure_ascii=False))
    else:
        _print_table(found_words)


def _print_table(found: "Fill") -> None:
    """Print the three lists side by side; numbers first, so that wide characters misalign little."""
    lists = (found.joint, found.forward, found.backward)
    widths = [max(7, *(len(word) for word, _ in column)) + 9 for column in lists]
    print("".join(f"{name:{width}}" for name, width in zip(("joint", "forward", "backward"), widths, strict=True)).rstrip())
    for candidates in zip(*lists, strict=True):
        cells = [f"{p:.4f} {word}".ljust(width) for (word, p), width in zip(candidates, widths, strict=True)]
        print("".join(cells).rstrip())
