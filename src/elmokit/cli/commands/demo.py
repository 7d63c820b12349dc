"""`elmo demo`: the river bank and the savings bank; in Chinese, 苹果 to eat and 苹果 to telephone with."""

import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from elmokit.cli.parameters import PathOrName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elmokit import Elmo
    from elmokit.explore.senses import Neighbor
    from elmokit.explore.uses import Use

SEEDS = 5  # networks with random weights to compare with
MOST = 500  # occurrences of a word taken from a text
SHOWN = 4  # uses printed
WIDTH = 90  # characters of a sentence printed


def demo(*, model: PathOrName = "en-small", text: PathOrName | None = None, word: str | None = None) -> None:
    """Show that a word's vector depends on its sentence: for uses of one word, the uses nearest to them.

    Without `text` the uses come from a list of ambiguous words, Chinese for a Chinese model and English for any other, each
    labelled with its sense, and the right answers over the whole list are counted beside chance, the words around the target,
    and the same network with random weights.
    The vectors are those of the top layer, as in the paper's own experiment on word senses (section 5.3).

    Args:
        model: A bundled model's name or a model folder.
        text: A text file in which to look for the word; its uses have no labels, so nothing is counted.
        word: The word to show; the first one of the list by default.

    Raises:
        ValueError: The list does not have the word, or the text has it less than twice.
    """
    begin = time.perf_counter()
    from elmokit import Elmo
    from elmokit.explore.uses import read_uses

    elmo = Elmo.from_pretrained(model)
    labelled = read_uses(language=(*elmo.config.languages, "en")[0])
    word = word or labelled[0].word
    known = sorted({use.word for use in labelled})
    if text is None and word not in known:
        raise ValueError(
            f"--word {word}: not in the bundled list, which has {', '.join(known)}; "
            "for another word give a text in which it stands, --text FILE"
        )
    uses = _uses_in(Path(text), word, elmo) if text else labelled
    print(f"ELMo gives each word a vector that depends on the whole sentence around it. Model: {model}\n")
    (_show_text if text else _show_list)(elmo, uses, word)
    print(f"\n{time.perf_counter() - begin:.1f} seconds, loading included.")


def _uses_in(text: Path, word: str, elmo: "Elmo") -> "list[Use]":
    """Find the word in a text."""
    from elmokit.explore.uses import read_text_uses

    uses = list(islice(read_text_uses(text, word, elmo), MOST))
    if len(uses) < 2:
        raise ValueError(f"{text}: {word!r} stands there {len(uses)} times, 2 are needed to compare; choose another --word")
    return uses


def _show_text(elmo: "Elmo", uses: "Sequence[Use]", word: str) -> None:
    """Print some occurrences of the word, with the nearest other one of each."""
    from elmokit.explore.senses import neighbors

    found = neighbors(elmo, uses, word, layer=elmo.num_layers - 1)
    which = f"The first {MOST} uses" if len(uses) == MOST else f"{len(uses)} uses"
    print(f'{which} of "{word}" were found. Some of them, and below each the nearest other one:\n')
    _print_neighbors(found[:: -(-len(found) // SHOWN)])


def _show_list(elmo: "Elmo", uses: "Sequence[Use]", word: str) -> None:
    """Print labelled uses of the word with the nearest one of each, and count the right ones over all words."""
    from elmokit.explore.senses import neighbors, probe
    from elmokit.explore.uses import encode_uses

    vectors, top = encode_uses(elmo, uses), elmo.num_layers - 1
    found = neighbors(elmo, uses, word, layer=top, vectors=vectors)
    print(f'Uses of "{word}" with their senses, and below each the nearest of the {len(found) - 1} others:\n')
    _print_neighbors(found[:: -(-len(found) // SHOWN)])
    random = [elmo.untrained(seed).to(elmo.device) for seed in range(SEEDS)]
    report = probe(elmo, random, uses, layer=top, vectors=vectors)
    print(f"\nOver {report.uses} uses of {report.words} words, how often has the nearest one, by the top layer, the same sense?")
    print("Beside it simpler ways, and how many points the model is ahead of them (95 % interval):\n")
    print(report.text())


def _print_neighbors(found: "Sequence[Neighbor]") -> None:
    """Two lines for each: a use; the nearest one with both cosines."""
    for neighbor in found:
        same = neighbor.use.sense == neighbor.nearest.sense
        sign = "" if neighbor.use.sense is None else "  same sense" if same else "  ANOTHER SENSE"
        print(f"{_label(neighbor.use)}{_clip(neighbor.use)}")
        print(f"  -> {_label(neighbor.nearest)}{_clip(neighbor.nearest)}")
        print(f"     cosine {neighbor.raw:.2f}, centered {neighbor.centered:.2f}{sign}")


def _label(use: "Use") -> str:
    """The sense in brackets, if it is known."""
    return f"({use.sense}) " if use.sense else ""


def _clip(use: "Use") -> str:
    """The sentence with the word in [brackets], cut to a line around it."""
    start = max(0, min(use.start - WIDTH // 2, len(use.text) - WIDTH))
    end = max(start + WIDTH, use.end)
    before, after = use.text[start : use.start], use.text[use.end : end]
    cut_before, cut_after = "…" if start else "", "…" if end < len(use.text) else ""
    return f"{cut_before}{before}[{use.text[use.start : use.end]}]{after}{cut_after}"
