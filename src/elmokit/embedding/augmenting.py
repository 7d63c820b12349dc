"""A file of labelled sentences → the same with new versions of them, as a stream; the labels are copied, places and all."""

from dataclasses import dataclass
from pathlib import Path

from elmokit.atomic import atomic_text
from elmokit.embedding.elmo import Elmo
from elmokit.embedding.labelled import Layout, Record, read_records
from elmokit.embedding.targets import check_plain_target
from elmokit.lm.augment import Augmentation, Augmenter, Replacements, replaceable_places
from elmokit.text.batch import chunks
from elmokit.text.files import PACKED, read_lines
from elmokit.text.tokenizers import get_tokenizer


@dataclass(frozen=True, kw_only=True)
class AugmentOptions:
    """What `augment_file` shall do."""

    augmentation: Augmentation
    """How sentences are changed."""
    layout: Layout
    """Where the file has its words and labels."""
    keep_original: bool = True
    """Whether each sentence stands before its copies."""
    tokenizer: str | None = None
    """What cuts texts into words; None for the model's own."""
    batch_tokens: int = 8192
    """Words computed at once."""

    def __post_init__(self) -> None:
        """Refuse what cannot be done.

        Raises:
            ValueError: Names the option and what it may be.
        """
        if self.batch_tokens < 1:
            raise ValueError(f"--batch-tokens must be 1 or more, not {self.batch_tokens}")
        if self.tokenizer is not None:
            get_tokenizer(self.tokenizer)


@dataclass
class AugmentCounts:
    """What was done to a file."""

    sentences: int = 0
    """Read."""
    copies: int = 0
    """Written."""
    replaced: int = 0
    """Words of the copies that were replaced."""
    replaceable: int = 0
    """Words of the copies that might have been."""
    without: int = 0
    """Sentences without a copy, because no word of theirs could be replaced."""
    labelled: int = 0
    """Words of the file that were kept for their labels."""

    def add(self, record: Record, copies: list[Replacements]) -> None:
        """Count a sentence and its copies."""
        words = [token.text for token in record.tokens or []]
        replaceable = len(replaceable_places(words, record.allowed))
        self.sentences += 1
        self.copies += len(copies)
        self.replaced += sum(map(len, copies))
        self.replaceable += replaceable * len(copies)
        self.without += not copies
        self.labelled += record.labelled

    def __str__(self) -> str:
        """All of them in one line."""
        share = self.replaced / max(self.replaceable, 1)
        said = (
            f"sentences read: {self.sentences:,}; copies written: {self.copies:,}; "
            f"words replaced in them: {self.replaced:,} of {self.replaceable:,} ({share:.1%})"
        )
        if self.without:
            said += f"; sentences without a word to replace, and so without a copy: {self.without:,}"
        if self.labelled:
            said += f"; words kept for their labels: {self.labelled:,}, see --replace-labelled"
        return said


def augment_file(
    source: str, target: str, model: str | Path | Elmo, options: AugmentOptions, device: str = "auto"
) -> AugmentCounts:
    """Write a file anew with copies of its sentences, each behind its original.

    Args:
        source: A file as `read_records` reads it, "-" for standard input.
        target: A file of the same kind, which is complete or not there, or "-" for standard output.
        model: The model, or where it is.
        options: What to do.
        device: For a model that is yet to be loaded.

    Raises:
        ValueError: The model has no language-model head; or names the file, option or line that is wrong.
    """
    _check_target(source, target, options.layout)
    read_lines(source)  # refuses a missing file before a model is loaded
    elmo = model if isinstance(model, Elmo) else Elmo.from_pretrained(model, device=device)
    records = read_records(source, options.layout, get_tokenizer(options.tokenizer or elmo.config.text.tokenizer))
    augmenter = Augmenter(
        elmo.language_model, elmo.vocabulary, elmo.reader, options.augmentation, batch_tokens=options.batch_tokens
    )
    counts = AugmentCounts()
    with atomic_text(target) as file:
        for chunk in chunks(records, lambda record: len(record.tokens or []) + 1, options.batch_tokens):
            words = [[token.text for token in record.tokens or []] for record in chunk]
            copies = augmenter(words, elmo.collate.read_forms(words), [record.allowed for record in chunk])
            for record, made in zip(chunk, copies, strict=True):
                if options.keep_original or record.tokens is None:
                    file.write(record.lines)
                file.writelines(map(record.rewrite, made))
                if record.tokens is not None:
                    counts.add(record, made)
        if not counts.sentences:
            raise ValueError(f"{source}: no sentence in it, there is nothing to augment")
    return counts


def _check_target(source: str, target: str, layout: Layout) -> None:
    """Refuse an output of another kind than the input."""
    kind = layout.kind_of(source)
    if target == "-":
        return
    check_plain_target(Path(target), [source])
    if Path(target).suffix.lower() in PACKED:
        raise ValueError(f"{target}: the output is not packed; leave {Path(target).suffix} out of its name")
    if layout.kind_of(target) != kind:
        raise ValueError(f"{target}: must be of the same kind as {source}, {kind}; end its name alike, or see --format")
