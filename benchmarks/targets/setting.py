"""What is measured with: the text, the models, the numbers of threads, the figures of others."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.run import Sentences, about_text


@dataclass(frozen=True)
class Setting:
    """What all rows share."""

    text: Path
    """Where the sentences came from."""
    sentences: Sentences
    """Lists of words, in file order."""
    original: str
    """A model of the original size."""
    small: str
    """One of the small size."""
    trained: str
    """One that was trained, for what depends on weights."""
    threads: Sequence[int]
    """PyTorch's; every speed is measured with each."""
    repeats: int
    """Fresh processes for each figure, of which the best one counts."""
    peers: Sequence[dict[str, Any]] = ()
    """Rows of `benchmarks/peers/run.py --json`."""
    lengths: Sequence[int] = (200, 1_000, 5_000, 20_000, 100_000)
    """Tokens of documents, for time per token."""
    seconds: float = 5.0
    """A document of each length is read again until so many have passed."""
    document: int = 100_000
    """Tokens of the document in which precision must not drift."""
    memory: Sequence[int] = (100_000, 1_000_000)
    """Tokens of the documents whose memory is compared."""
    embedded: int = 1_500_000
    """Tokens that one process and two embed."""
    gpu_text: Sequence[Path] = ()
    """Files for the GPU; without any, words are made up."""
    gpu_tokens: int = 1_000_000
    """So many of them."""
    differences: Sequence[dict[str, Any]] = ()
    """How far elmokit's vectors were from AllenNLP's there."""

    @property
    def cycle(self) -> Sentences:
        """The sentences as often as the longest document needs them."""
        tokens = sum(map(len, self.sentences))
        return self.sentences * -(-max(*self.lengths, self.document) // tokens)


def read_peers(paths: Sequence[Path], text: Path, sentences: Sentences) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Read what `benchmarks/peers/run.py` measured: speeds, and differences.

    Raises:
        ValueError: It was measured on other sentences.
    """
    ours = about_text(text, sentences)
    rows: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for path in paths:
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["text"]["sha256"] != ours["sha256"]:
            raise ValueError(
                f"{path}: measured on other sentences ({report['text']['name']}, {report['text']['sentences']:,} of them)"
            )
        rows += report["rows"]
        differences += report["differences"]
    return rows, differences
