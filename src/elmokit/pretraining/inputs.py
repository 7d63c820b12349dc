"""How a model that is to be trained reads words: by their characters, by themselves, or both joined.

characters      the published models: any spelling has a vector
words           a table of the vocabulary's words, which is the softmax's too (bilm-tf's `share_embedding_softmax`)
both            ELMoForManyLangs: the table's vector and the characters', joined by one projection
"""

from dataclasses import replace
from typing import Literal

import numpy as np
from torch import nn

from elmokit.config import BiLMConfig, WordTableConfig
from elmokit.lm.language_model import Characters, LanguageModel
from elmokit.model.bilm import BiLM
from elmokit.model.word_and_characters import WordAndCharacters
from elmokit.model.word_embedding import WordEmbedding
from elmokit.pretraining.corpus import Corpus
from elmokit.text.tables import WordTable
from elmokit.text.vocabulary import UNK_ID, Vocabulary

Input = Literal["characters", "words", "both"]
WORD_DIM = 100
"""Numbers for each word beside its characters, as in ELMoForManyLangs."""


def with_input(bilm: BiLMConfig, read: Input, vocabulary_size: int) -> BiLMConfig:
    """Give a shape whose word vectors are made as asked.

    Args:
        bilm: A shape that reads characters.
        read: What it shall read.
        vocabulary_size: V: words of the table.
    """
    if read == "characters":
        return bilm
    if read == "words":
        return replace(bilm, char_cnn=None, word_table=WordTableConfig(words=vocabulary_size, dim=bilm.output_dim))
    return replace(bilm, word_table=WordTableConfig(words=vocabulary_size, dim=WORD_DIM, projection=True))


def input_of(bilm: BiLMConfig) -> Input:
    """Tell what a shape reads."""
    if bilm.word_table is None:
        return "characters"
    return "words" if bilm.char_cnn is None else "both"


def word_rows(corpus: Corpus, read: Input, vocabulary_size: int) -> Characters:
    """Give what turns word ids into the rows that the model reads (see `elmokit.text.readers`)."""
    if read == "characters":
        return corpus.characters

    def rows(ids_U: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
        ids_U1 = np.where(ids_U < vocabulary_size, ids_U, UNK_ID)[:, None].astype(np.int32)
        return ids_U1 if read == "words" else np.concatenate([ids_U1, corpus.characters(ids_U).astype(np.int32)], 1)

    return rows


def word_table(vocabulary: Vocabulary, read: Input) -> WordTable | None:
    """Give the words that the model looks up, to be kept with it."""
    return None if read == "characters" else WordTable({word: number for number, word in enumerate(vocabulary.words)})


def tables_of(bilm: BiLM) -> list[nn.Embedding]:
    """Give the tables of words that a model learns; of each a step touches few rows."""
    words = bilm.words.table if isinstance(bilm.words, WordAndCharacters) else bilm.words
    return [words.embedding] if isinstance(words, WordEmbedding) else []


def tie(model: LanguageModel) -> None:
    """Let the softmax and the table of words be one, where the biLM reads words alone and the widths are the same."""
    words = model.bilm.words
    table = words.embedding.weight if isinstance(words, WordEmbedding) else None
    if isinstance(table, nn.Parameter) and table.shape == model.head.weight.shape:
        model.head.weight = table
