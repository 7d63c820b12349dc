"""Words → AllenNLP's character ids: ours, each one higher, and 0 where there is no word.

B sentences, T words of the longest, W = 50 characters.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from elmokit.compat.sentences import word_lists
from elmokit.text.bytes import BOS_CHARACTER, BOW, EOS_CHARACTER, EOW, PAD, encode_words
from elmokit.text.vocabulary import BOS, EOS


def batch_to_ids(batch: list[list[str]]) -> Tensor:
    """Turn sentences of words into the character ids that `Elmo` takes.

    Args:
        batch: B sentences, each a list of words. The literal words `<S>` and `</S>` become the sentence marks.

    Returns:
        (B, T, 50) int64, zeros past each sentence's end.

    Raises:
        ValueError: A sentence is a string.
    """
    batch = word_lists(batch)
    ids_BTW = np.zeros((len(batch), max(map(len, batch), default=0), ELMoCharacterMapper.max_word_length), np.int64)
    for row, words in enumerate(batch):
        ids_BTW[row, : len(words)] = encode_words(words, ELMoCharacterMapper.max_word_length) + 1
    return torch.from_numpy(ids_BTW)


class ELMoCharacterMapper:
    """The code of a single word.

    Args:
        tokens_to_add: Words that get an id of their own instead of their characters.
    """

    max_word_length = 50
    beginning_of_sentence_character = BOS_CHARACTER
    end_of_sentence_character = EOS_CHARACTER
    beginning_of_word_character = BOW
    end_of_word_character = EOW
    padding_character = PAD
    bos_token = BOS
    eos_token = EOS

    def __init__(self, tokens_to_add: Mapping[str, int] | None = None) -> None:
        self.tokens_to_add = dict(tokens_to_add or {})

    def convert_word_to_char_ids(self, word: str) -> list[int]:
        """Give the 50 ids of a word, from 1 to 261."""
        if word in self.tokens_to_add:
            row = [BOW, self.tokens_to_add[word], EOW]
            return [i + 1 for i in row + [PAD] * (self.max_word_length - len(row))]
        ids: list[int] = (encode_words([word], self.max_word_length)[0] + 1).tolist()
        return ids


class ELMoTokenCharactersIndexer:
    """AllenNLP's token indexer, as far as the ids go.

    Args:
        namespace: Kept, not used: characters need no vocabulary.
        tokens_to_add: Words that get an id of their own instead of their characters.
        token_min_padding_length: At least so many words after padding.
    """

    def __init__(
        self,
        namespace: str = "elmo_characters",
        tokens_to_add: dict[str, int] | None = None,
        token_min_padding_length: int = 0,
    ) -> None:
        self.namespace = namespace
        self.token_min_padding_length = token_min_padding_length
        self.mapper = ELMoCharacterMapper(tokens_to_add)

    def tokens_to_indices(self, tokens: Sequence[object], vocabulary: object = None) -> dict[str, list[list[int]]]:
        """Give the ids of each word.

        Args:
            tokens: Strings, or objects with a `text`, as AllenNLP's and spaCy's tokens have.
            vocabulary: Not used.

        Returns:
            {"elmo_tokens": 50 ids for each word}.

        Raises:
            ValueError: A token has no text.
        """
        words = [token if isinstance(token, str) else getattr(token, "text", None) for token in tokens]
        for token, word in zip(tokens, words, strict=True):
            if not isinstance(word, str):
                raise ValueError(f"tokens must be strings or have a text, {token!r} has none")
        return {"elmo_tokens": [self.mapper.convert_word_to_char_ids(str(word)) for word in words]}

    def get_empty_token_list(self) -> dict[str, list[list[int]]]:
        """Give what no words give."""
        return {"elmo_tokens": []}

    def as_padded_tensor_dict(
        self, tokens: Mapping[str, list[list[int]]], padding_lengths: Mapping[str, int]
    ) -> dict[str, Tensor]:
        """Make the tensor of one sentence, cut or filled with zeros to the length asked for.

        Args:
            tokens: What `tokens_to_indices` gave.
            padding_lengths: {"elmo_tokens": how many words}.

        Returns:
            {"elmo_tokens": (words, 50) int64}.
        """
        length = max(padding_lengths["elmo_tokens"], self.token_min_padding_length)
        rows = tokens["elmo_tokens"][:length]
        ids_TW = torch.zeros(length, ELMoCharacterMapper.max_word_length, dtype=torch.int64)
        if rows:
            ids_TW[: len(rows)] = torch.tensor(rows)
        return {"elmo_tokens": ids_TW}
