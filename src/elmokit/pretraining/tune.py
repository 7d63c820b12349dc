"""From a model and new text to a tuned model: what `elmo tune` does, with what it gained and what it forgot."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from elmokit.atomic import atomic_path
from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.checkpoints.folder import load_folder
from elmokit.lm.load import load_language_model
from elmokit.lm.perplexity import Perplexity, perplexity
from elmokit.pretraining.corpus import Corpus
from elmokit.pretraining.options import PretrainOptions
from elmokit.pretraining.preparing import say
from elmokit.pretraining.pretrain import pretrain
from elmokit.pretraining.reading import TextSource, read_sentences
from elmokit.pretraining.run_note import identity
from elmokit.training.ranks import first_process

_EXPLAINED = """\
Perplexity on text that was held out of what the model was tuned on ("new"), and on text such as it was trained on before
("old"). Where vocabularies differ, only the bits per character compare, in which unknown words are spelt out."""


@dataclass(frozen=True)
class Change:
    """What tuning did to the perplexity of one text."""

    text: str
    """"new": the held-out text of the new domain; "old": the text of the old one."""
    before: Perplexity | None
    """By the model that tuning began with; None if it cannot score text."""
    after: Perplexity


def tune(options: PretrainOptions, old: TextSource | None = None) -> list[Change]:
    """Go on training a model on new text, and measure it before and after; see `elmokit.pretraining.pretrain.pretrain`.

    Args:
        options: With the model to go on from.
        old: Text of the domain that the model was trained on; None: what it forgets is not measured.

    Returns:
        What changed, the new text first; nothing in a process that is not the first one.

    Raises:
        ValueError: The options do not fit each other, the text or an earlier run.
        KeyboardInterrupt: Stopped by a signal, after a checkpoint.
        OSError: The last checkpoint or the model could not be written.
    """
    if old is not None:
        _check_old(old)
    before: dict[str, Perplexity | None] = {}
    score = pretrain(options, lambda corpus: before.update(_before(options, corpus, old)))
    if not first_process():
        return []
    changes = [Change("new", before["new"], score)]
    if old is not None:
        say("measuring the tuned model on the old text …")
        tuned = load_folder(options.out)
        changes.append(Change("old", before["old"], _measured(tuned, read_sentences(old, options.text))))
    _write(options, changes)
    return changes


def table(changes: Sequence[Change]) -> str:
    """Write what changed as a table in Markdown."""
    lines = ["| text | model | forward | backward | mean | unknown words | bits per character |", "|---|---|---|---|---|---|---|"]
    for change in changes:
        for when, score in (("before", change.before), ("after", change.after)):
            lines.append(f"| {change.text} | {when} | {' | '.join(_cells(score))} |")
    return "\n".join(lines)


def _cells(score: Perplexity | None) -> list[str]:
    """The numbers of one line."""
    if score is None:
        return ["–"] * 5
    backward = "–" if score.backward is None else f"{score.backward:.1f}"
    bits = "–" if score.bits_per_character is None else f"{score.bits_per_character:.3f}"
    return [f"{score.forward:.1f}", backward, f"{score.mean:.1f}", f"{score.oov:.1%}", bits]


def _check_old(old: TextSource) -> None:
    """Refuse at once what could not be measured in the end.

    Raises:
        ValueError: There is no such text, or it cannot be read twice.
    """
    if old.patterns == ["-"]:
        raise ValueError("--old: the old text is read before and after, and standard input can be read once: give a file")
    old.units()


def _before(options: PretrainOptions, corpus: Corpus, old: TextSource | None) -> dict[str, Perplexity | None]:
    """Measure the model that is begun with, once for a run."""
    assert options.start is not None, "there is a model to tune"
    path = options.work / "before.json"
    key = json.loads(json.dumps([identity(options), old and old.fingerprint()]))
    if path.exists():
        noted = json.loads(path.read_text(encoding="utf-8"))
        if noted["key"] == key:
            return {name: score and Perplexity(**score) for name, score in noted["scores"].items()}
    if old is not None and not sum(1 for _ in read_sentences(old, options.text)):  # all of it: now, and not after hours
        raise ValueError(f"--old: no text to measure on in {old.describe()}")
    checkpoint = options.start.checkpoint
    scores: dict[str, Perplexity | None] = {"new": None, "old": None}
    if checkpoint.head is not None and checkpoint.vocabulary is not None:
        say("measuring the model before it is tuned …")
        scores["new"] = _measured(checkpoint, corpus.heldout_words())
        scores["old"] = None if old is None else _measured(checkpoint, read_sentences(old, options.text))
    with atomic_path(path) as temporary:
        noted = {"key": key, "scores": {name: score and asdict(score) for name, score in scores.items()}}
        temporary.write_text(json.dumps(noted), encoding="utf-8")
    return scores


def _measured(checkpoint: Checkpoint, sentences: Iterable[Sequence[str]]) -> Perplexity:
    """Score a text."""
    model, vocabulary = load_language_model(checkpoint)
    return perplexity(model, vocabulary, sentences, checkpoint.reader)


def _write(options: PretrainOptions, changes: Sequence[Change]) -> None:
    """Keep what changed, beside the run and in the model card."""
    with atomic_path(options.work / "tuning.json") as temporary:
        temporary.write_text(json.dumps([asdict(change) for change in changes], indent=1), encoding="utf-8")
    card = options.out / "README.md"
    section = f"\n## Before and after tuning\n\n{_EXPLAINED}\n\n{table(changes)}\n"
    with atomic_path(card) as temporary:
        temporary.write_text(card.read_text(encoding="utf-8") + section, encoding="utf-8")
