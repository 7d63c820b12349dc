"""Text drawn from a language model, word by word, in either direction.

    p'(w) ∝ p(w | read so far)^(1 / temperature),  over the top k words that may be drawn

A direction ends where it draws the mark at its end of the sentence: `</S>` forward, `<S>` backward. The mark at its
beginning is never drawn. Shapes: V vocabulary.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from elmokit.lm.context import Context, Direction
from elmokit.lm.language_model import LanguageModel
from elmokit.text.readers import WordReader
from elmokit.text.vocabulary import BOS_ID, EOS_ID, UNK_ID, Vocabulary


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How words are drawn."""

    temperature: float = 1.0
    """Below 1 likely words become likelier, above 1 less likely; 0 always takes the likeliest."""
    top_k: int | None = None
    """Only so many likeliest words may be drawn; None: all."""
    seed: int = 0
    """The same seed draws the same words, on the same machine."""
    length: int = 50
    """Words drawn at the most."""
    unknown: bool = False
    """Whether `<UNK>` may be drawn."""

    def __post_init__(self) -> None:
        """Refuse what cannot be done.

        Raises:
            ValueError: Names the field and what it may be.
        """
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature must be 0 or more, not {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be 1 or more, not {self.top_k}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be 0 or more and below 2**63, not {self.seed}")
        if self.length < 1:
            raise ValueError(f"length must be 1 or more, not {self.length}")


def generate(
    model: LanguageModel,
    vocabulary: Vocabulary,
    reader: WordReader,
    prompt: Sequence[str] = (),
    *,
    direction: Direction = "forward",
    drawing: Drawing = Drawing(),
) -> Iterator[str]:
    """Draw words one after the other; the sentence's mark is not given.

    Args:
        model: The language model.
        vocabulary: The words that its softmax predicts.
        reader: How the model reads words.
        prompt: Words of the text that are there, in the text's order and the form which the model reads: its beginning
            if the direction is forward, its end if it is backward.
        direction: "backward" draws from right to left: the first word given stands last in the text.
        drawing: How.

    Raises:
        ValueError: The direction is backward, and the model reads forward alone.
    """
    ahead, behind = (EOS_ID, BOS_ID) if direction == "forward" else (BOS_ID, EOS_ID)
    never = [behind] if drawing.unknown else [behind, UNK_ID]
    generator = torch.Generator().manual_seed(drawing.seed)
    context = Context(model, reader, direction)
    context.read(prompt if direction == "forward" else prompt[::-1])
    for _ in range(drawing.length):
        drawn = _draw(context.expectation(), never, drawing, generator)
        if drawn == ahead:
            return
        yield vocabulary.words[drawn]
        context.read([vocabulary.words[drawn]])


def _draw(log_p_V: Tensor, never: list[int], drawing: Drawing, generator: torch.Generator) -> int:
    """Draw one word's id."""
    log_p_V[never] = -math.inf
    if drawing.temperature == 0:
        return int(log_p_V.argmax())
    top_K, ids_K = log_p_V.topk(min(drawing.top_k or len(log_p_V), len(log_p_V) - len(never)))
    p_K = ((top_K - top_K[0]) / drawing.temperature).exp()  # the likeliest is 1, whatever the temperature
    return int(ids_K[torch.multinomial(p_K, 1, generator=generator)])
