"""The half of `Elmo` that needs a language-model head: what the model says of words, rather than their vectors."""

from collections.abc import Iterable, Sequence
from typing import overload

from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.embedding.inputs import Collate, Inputs, Text, Words, read_inputs
from elmokit.lm.augment import Augmentation, Augmenter
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

    def augment(
        self,
        sentences: Iterable[Words],
        *,
        rate: float = 0.15,
        top_k: int = 10,
        copies: int = 1,
        seed: int = 0,
        allowed: Iterable[Sequence[bool]] | None = None,
        batch_tokens: int = 8192,
    ) -> list[list[list[str]]]:
        """Make new versions of sentences: some words replaced by words that the model expects there, one for one.

        What a place expects is read from the sentence as it was given, from both sides, as `fill` does it. Marks, numbers
        and whatever else is not letters stay; so do capitals. A label that belongs to a word stays with its place, but
        whether it still fits is for you to say: with `allowed` keep the words that matter, names above all.

        Args:
            sentences: Sentences, each a list of words.
            rate: Probability with which each word is replaced, above 0; of every sentence one is, at the least.
            top_k: Replacements are drawn from so many likeliest words, in proportion to their probability; never the word itself.
            copies: New versions of each sentence, drawn independently: two may be alike.
            seed: The same seed gives the same copies on the same machine, whatever the other sentences are.
            allowed: For each sentence, which of its words may be replaced; None: all.
            batch_tokens: Words computed at once; it changes memory and speed.

        Returns:
            For each sentence a list of its copies, each a list of as many words; an empty list if it has no word to replace.

        Raises:
            ValueError: The model has no language-model head, or an option or input is of the wrong kind.
        """
        augmentation = Augmentation(rate=rate, top_k=top_k, copies=copies, seed=seed)
        collate = Collate(self.checkpoint.config, self.reader)
        augmenter = Augmenter(self.language_model, self.vocabulary, self.reader, augmentation, batch_tokens=batch_tokens)
        read = read_inputs(sentences, collate.config.text.tokenizer, warn=False)
        if read.tokens is not None and read.words:
            raise ValueError("sentences must be lists of words, not texts; `tokenize` cuts texts into words")
        limits = _limits(read.words, allowed)
        made = augmenter(read.words, collate.read_forms(read.words), limits)
        return [
            [[copy.get(place, word) for place, word in enumerate(words)] for copy in copies_of]
            for words, copies_of in zip(read.words, made, strict=True)
        ]


def _limits(sentences: list[list[str]], allowed: Iterable[Sequence[bool]] | None) -> list[Sequence[bool]] | None:
    """Check that each word has its `allowed`."""
    if allowed is None:
        return None
    limits = list(allowed)
    if [len(limit) for limit in limits] != [len(words) for words in sentences]:
        raise ValueError("allowed must have a list for each sentence, with True or False for each of its words")
    return limits
