"""A checkpoint with a head → a language model."""

from elmokit.checkpoints.checkpoint import Checkpoint, build_bilm
from elmokit.lm.language_model import LanguageModel
from elmokit.model.softmax import SoftmaxHead
from elmokit.model.without_values import without_values
from elmokit.model.word_embedding import WordEmbedding
from elmokit.text.vocabulary import Vocabulary


def load_language_model(checkpoint: Checkpoint) -> tuple[LanguageModel, Vocabulary]:
    """Join the biLM and the softmax of a checkpoint, ready for scoring.

    Raises:
        ValueError: It has no head or no vocabulary, as all of the published HDF5 files.
    """
    head, vocabulary = load_head(checkpoint)
    model = LanguageModel(build_bilm(checkpoint), head).eval()
    words = model.bilm.words
    if checkpoint.tied and isinstance(words, WordEmbedding):
        words.embedding.weight = head.weight  # one parameter, so that training changes both
    return model, vocabulary


def load_head(checkpoint: Checkpoint) -> tuple[SoftmaxHead, Vocabulary]:
    """Give the softmax of a checkpoint, on the tensors that it holds, and the words that it predicts.

    Raises:
        ValueError: It has no head or no vocabulary; says which models have them.
    """
    if checkpoint.head is None or checkpoint.vocabulary is None:
        missing = "language-model head" if checkpoint.head is None else "vocabulary for its language-model head"
        raise ValueError(
            f"{checkpoint.origin}: has no {missing}, so it cannot predict words, nor score text; "
            "the bundled en-small can, what `elmo pretrain` wrote, and bilm-tf's own training folders"
        )
    with without_values():
        head = SoftmaxHead(len(checkpoint.vocabulary), checkpoint.config.bilm.output_dim)
    head.load_state_dict(checkpoint.head, assign=True)
    return head, checkpoint.vocabulary
