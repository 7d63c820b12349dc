"""The half of `Elmo` that needs a language-model head: what the model says of words, rather than their vectors."""

from collections.abc import Iterable, Sequence
from typing import overload

from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.embedding.inputs import Collate, Inputs, Text, Words, read_inputs
from elmokit.lm.fill import Fill, fill
from elmokit.lm.language_model import LanguageModel
from elmokit.lm.load import load_head
from elmokit.lm.score import Score, Scorer
from elmokit.model.bilm import BiLM
from elmokit.model.softmax import SoftmaxHead
from elmokit.text.readers import WordReader
from elmokit.text.vocabulary import Vocabulary


class Predicting:
    """Methods of `Elmo`; they may be called from several threads, as the others."""

    bilm: BiLM
    """The network."""
    checkpoint: Checkpoint
    """What else came with the model, the head among it."""
    reader: WordReader
    """How it reads words."""
    _head: SoftmaxHead | None = None

    @property
    def vocabulary(self) -> Vocabulary:
        """The V words that the model predicts, from frequent to rare behind `<S> </S> <UNK>`.

        Raises:
            ValueError: The model has no language-model head.
        """
        return load_head(self.checkpoint)[1] if self.checkpoint.vocabulary is None else self.checkpoint.vocabulary

    @property
    def language_model(self) -> LanguageModel:
        """The network joined with its softmax, on the network's device.

        Raises:
            ValueError: The model has no language-model head; says which models have one.
        """
        device = self.bilm.device
        head = self._head
        if head is None or head.bias.device != device:  # two threads may both make one: either will do
            head = self._head = load_head(self.checkpoint)[0].to(device).eval()
        return LanguageModel(self.bilm, head)

    @overload  # the first signature that fits counts
    def score(  # type: ignore[overload-overlap]  # a str is an iterable of str too
        self, sentences: Text, *, carry_state: bool = False, batch_tokens: int = 8192
    ) -> Score: ...
    @overload
    def score(
        self, sentences: Iterable[Text] | Iterable[Words], *, carry_state: bool = False, batch_tokens: int = 8192
    ) -> list[Score]: ...
    def score(self, sentences: Inputs, *, carry_state: bool = False, batch_tokens: int = 8192) -> Score | list[Score]:
        """Give the probability of every word, from the words before it and from those behind it.

        Args:
            sentences: One text, a list of texts, each taken as one sentence, or a list of sentences, each a list of words.
            carry_state: Whether they are read as one stream, each with what the one before left in both directions, as
                `elmo perplexity` does. By default each is scored by itself.
            batch_tokens: Words and marks computed at once; it changes memory and speed, not the result.

        Returns:
            For each sentence a `Score(tokens, forward, backward, unknown)`: natural logarithms of n + 1 probabilities
            forward, of w1 … wn `</S>`, and n + 1 backward, of `<S>` w1 … wn. Words outside the vocabulary are scored as
            `<UNK>` and marked in `unknown`. Just one `Score` for one text. `backward` is empty if the model reads forward alone.

        Raises:
            ValueError: The model has no language-model head, or an option or input is of the wrong kind.
        """
        collate = Collate(self.checkpoint.config, self.reader)
        model, vocabulary = self.language_model, self.vocabulary
        scorer = Scorer(model, vocabulary, self.reader, batch_tokens=batch_tokens, carry_state=carry_state)
        read = read_inputs(sentences, collate.config.text.tokenizer)
        scores = scorer(collate.read_forms(read.words), read.words)
        return scores[0] if read.single else scores

    def fill(self, sentence: Text | Sequence[str], position: int, k: int = 10) -> Fill:
        """Give the words that the model expects at a place, whatever stands there.

        Args:
            sentence: A text, or the words of one sentence.
            position: Which word is left out and guessed, counted from 0.
            k: How many candidates; more than the vocabulary has are the whole vocabulary.

        Returns:
            `Fill(forward, backward, joint)`, each a list of `Candidate(word, probability)`: from the words before the
            place, from those behind it, and from both (∝ p_f · p_b, renormalized over the vocabulary).

        Raises:
            ValueError: The model has no language-model head or reads forward alone, or the sentence has no such place.
        """
        model, collate = self.language_model, Collate(self.checkpoint.config, self.reader)
        given: Inputs = sentence if isinstance(sentence, str) else [sentence]
        words = collate.read_forms(read_inputs(given, collate.config.text.tokenizer, warn=False).words)[0]
        return fill(model, self.vocabulary, self.reader, words, position, k)
