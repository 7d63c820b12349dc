"""Every word gets an id: those of the vocabulary their own, others new ones."""

import numpy as np

from elmokit.text.bytes import encode_words
from elmokit.text.lexicon import Lexicon
from elmokit.text.readers import ByteReader, WordReader
from elmokit.text.vocabulary import Vocabulary


def test_words_outside_the_vocabulary_get_new_ids_and_keep_their_spelling() -> None:
    vocabulary = Vocabulary(("<S>", "</S>", "<UNK>", "the", "bank"))
    lexicon = Lexicon(vocabulary, WordReader(ByteReader(9)))
    assert lexicon.ids(["the", "ferry", "bank", "ferry"]).tolist() == [3, 5, 4, 5]
    assert lexicon.ids(["quay", "ferry"]).tolist() == [6, 5]
    assert lexicon.words == [*vocabulary.words, "ferry", "quay"]
    np.testing.assert_array_equal(lexicon.characters(np.array([6, 0, 5])), encode_words(["quay", "<S>", "ferry"], 9))


def test_no_words() -> None:
    ids = Lexicon(Vocabulary(("<S>", "</S>", "<UNK>"))).ids([])
    assert ids.shape == (0,)
    assert ids.dtype == np.int64
