"""The model card of a pretrained model: what a stranger must know before using it."""

from elmokit.config import ElmoConfig
from elmokit.lm.perplexity import Perplexity
from elmokit.pretraining.corpus import Corpus
from elmokit.pretraining.recipes import Recipe
from elmokit.training.budget import Progress


def model_card(name: str, config: ElmoConfig, recipe: Recipe, corpus: Corpus, progress: Progress, score: Perplexity) -> str:
    """Write the card in Markdown: shape, text, training, held-out perplexity."""
    bilm, facts = config.bilm, corpus.facts
    filters = " ".join(f"{width}×{number}" for width, number in bilm.char_cnn.filters)
    files = ", ".join(f"`{file}`" for file, *_ in facts["train"]["files"])
    return f"""# {name}

An ELMo (a character CNN and a bidirectional LSTM language model) trained with elmokit.

| | |
|---|---|
| shape | LSTM {bilm.layers} × {bilm.cell_dim}, projection {bilm.output_dim}; filters {filters}; {bilm.char_cnn.highways} highway(s) |
| text | {files}: {facts["tokens"]:,} words in {facts["sentences"]:,} sentences |
| tokenizer | {config.text.tokenizer}, normalization {config.text.normalization}, {"lowercase" if config.text.lowercase else "case kept"} |
| training | recipe {recipe.optimizer}, {progress.steps:,} steps, {progress.tokens:,} targets a direction ({progress.passes:.2f} passes), {progress.seconds / 3600:.1f} h |
| held-out perplexity | forward {score.forward:.1f}, backward {score.backward:.1f}, mean {score.mean:.1f} over {score.tokens:,} targets; {score.oov:.1%} of the words outside the vocabulary, scored as `<UNK>` |
"""
