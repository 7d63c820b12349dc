"""`elmo generate`: text drawn from a language model."""

from typing import Literal

from elmokit.cli.parameters import PathOrName


def generate(
    *,
    model: PathOrName = "en-small",
    prompt: str = "",
    direction: Literal["forward", "backward"] = "forward",
    length: int = 50,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
    unknown: bool = False,
    tokenizer: str | None = None,
    device: str = "auto",
) -> None:
    """Let a language model write one sentence, from left to right or from right to left.

    It stops where the model ends (backward: begins) the sentence. Words are printed with spaces between them.

    Args:
        model: A model with its language-model head: a bundled name, a model folder, a training folder of bilm-tf.
        prompt: The sentence's beginning; backward: its end.
        direction: forward: left to right. backward: right to left.
        length: Words drawn at the most.
        temperature: Below 1 likely words become likelier, above 1 less likely; 0 always takes the likeliest.
        top_k: Draw from so many likeliest words only.
        seed: The same seed draws the same words, on the same machine.
        unknown: Let `<UNK>` be drawn, the stand-in for all words outside the vocabulary.
        tokenizer: What cuts the prompt into words; by default the model's.
        device: "auto" (CUDA if there is one), "cpu", "cuda", …

    Raises:
        ValueError: An option is out of range; the model has no language-model head, or not this direction.
    """
    from elmokit.embedding.elmo import Elmo
    from elmokit.lm.generate import Drawing
    from elmokit.lm.generate import generate as draw
    from elmokit.text.tokenizers import get_tokenizer

    try:
        drawing = Drawing(temperature=temperature, top_k=top_k, seed=seed, length=length, unknown=unknown)
    except ValueError as error:
        name, _, wrong = str(error).partition(" ")
        raise ValueError(f"--{name.replace('_', '-')} {wrong}") from error
    elmo = Elmo.from_pretrained(model, device=device)
    tokens = [token.text for token in get_tokenizer(tokenizer or elmo.config.text.tokenizer)(prompt)]
    read = elmo.collate.read_forms([tokens])[0]
    drawn = list(draw(elmo.language_model, elmo.vocabulary, elmo.reader, read, direction=direction, drawing=drawing))
    print(" ".join([*tokens, *drawn] if direction == "forward" else [*reversed(drawn), *tokens]))
