"""The model card of a pretrained model: what a stranger must know before using it."""

from elmokit.config import ElmoConfig
from elmokit.lm.perplexity import Perplexity
from elmokit.pretraining.corpus import Corpus
from elmokit.pretraining.recipes import Recipe
from elmokit.training.budget import Progress


def model_card(
    name: str,
    config: ElmoConfig,
    recipe: Recipe,
    corpus: Corpus,
    progress: Progress,
    score: Perplexity,
    start: str | None = None,
) -> str:
    """Write the card in Markdown: shape, text, training, held-out perplexity; and what was gone on from, if anything was."""
    bilm, facts = config.bilm, corpus.facts
    words = [f"table of {bilm.word_table.words:,} words × {bilm.word_table.dim}"] if bilm.word_table else []
    if bilm.char_cnn:
        filters = " ".join(f"{width}×{number}" for width, number in bilm.char_cnn.filters)
        words.append(f"filters {filters}, {bilm.char_cnn.highways} highway(s)")
    way = "" if bilm.bidirectional else ", read forward alone"
    files = ", ".join(f"`{file}`" for file, *_ in facts["train"]["files"])
    case = "lowercase" if config.text.lowercase else "case kept"
    rows = {
        **({"tuned from": f"`{start}`"} if start else {}),
        "shape": f"LSTM {bilm.layers} × {bilm.cell_dim}, projection {bilm.output_dim}{way}; {' and '.join(words)}",
        "text": f"{files}: {facts['tokens']:,} words in {facts['sentences']:,} sentences",
        "tokenizer": f"{config.text.tokenizer}, normalization {config.text.normalization}, {case}",
        "training": f"recipe {recipe.optimizer}, {progress.steps:,} steps, {progress.tokens:,} targets a direction "
        f"({progress.passes:.2f} passes), {progress.seconds / 3600:.1f} h",
        "held-out perplexity": f"{score.words(1)} "
        f"over {score.tokens:,} targets; {score.oov:.1%} of the words outside the vocabulary, scored as `<UNK>`"
        + ("" if score.bits_per_character is None else f"; {score.bits_per_character:.3f} bits per character, these spelt out"),
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    kind = "a bidirectional" if bilm.bidirectional else "a forward"
    reads = " and ".join([*(["a character CNN"] if bilm.char_cnn else []), *(["a table of words"] if bilm.word_table else [])])
    what = f"An ELMo ({reads}, {kind} LSTM language model on top) trained with elmokit."
    return f"# {name}\n\n{what}\n\n| | |\n|---|---|\n{table}\n"
