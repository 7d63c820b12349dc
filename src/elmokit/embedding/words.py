"""Word vectors of batches, each word's computed once as long as it is remembered.

Half of the words of a text are repeats, across batches too, and a word's vector depends on the word alone. So a
bounded table keeps those used last, as long as the engine computes with the same weights in the same way.

U distinct words of a batch, W ids of a word (its characters, mostly), P width, N rows of the table so far.
"""

import operator
import threading
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from elmokit.kernels.engine import Engine
from elmokit.text.batch import WordBatch
from elmokit.text.readers import WordReader

PLACES = 20_000
"""Words remembered: about all that a few hundred thousand tokens of one text hold."""
WORDS_AT_ONCE = 2048
"""Words that go through the network together; the widest convolutions take 20 kB and more for each."""


class WordVectors:
    """The network that makes word vectors, with a memory of the words used last. Threads wait for each other.

    Args:
        engine: What computes a word's vector.
        reader: How the model reads words, for those who make batches.
        places: How many words are remembered; 0 for none.

    Raises:
        ValueError: Fewer places than 0, or no whole number.
    """

    def __init__(self, engine: Engine, reader: WordReader, places: int = PLACES) -> None:
        whole = operator.index(places) if hasattr(places, "__index__") else -1
        if whole < 0:
            raise ValueError(f"word_cache must be a whole number, 0 or more, not {places!r}")
        self.engine = engine
        """What computes them."""
        self.reader = reader
        """How the model reads words."""
        self.places = whole
        """How many words are remembered."""
        self.asked = 0
        """Distinct words of all batches so far."""
        self.hits = 0
        """Those of them that an earlier batch had left in the table."""
        self.place_of: OrderedDict[bytes, int] = OrderedDict()  # a word's ids → its row; the first was used longest ago
        self.table_NP: Tensor | None = None
        self._made_by: object = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and other processes begin with an empty table."""
        return WordVectors, (self.engine, self.reader, self.places)

    def __call__(self, batch: WordBatch) -> Tensor:
        """Give the vectors x_BTP of a batch's words; what stands past a sentence's end is any word's."""
        with self._lock:
            if self._made_by != (maker := self._maker()):
                self.place_of.clear()
                self.table_NP = None
                self._made_by = maker
            return self._vectors_of(batch)

    def _maker(self) -> object:
        """Give what is another where what was remembered is of no use: other weights, another device or type of numbers.

        On a GPU another stream too: nothing would wait there for what the first one has yet to write.
        """
        bilm = self.engine.bilm
        stream = torch.cuda.current_stream(bilm.device).cuda_stream if bilm.device.type == "cuda" else None
        return self.engine.version, bilm.device, next(bilm.parameters()).dtype, stream

    def _vectors_of(self, batch: WordBatch) -> Tensor:
        """Look known words up, and compute the others."""
        device = self.engine.bilm.device
        keys = [row.tobytes() for row in batch.chars_UW]
        new = [u for u, key in enumerate(keys) if key not in self.place_of]
        new_vectors = self._compute(torch.from_numpy(batch.chars_UW[new]).to(device))
        x_UP = new_vectors.new_empty(len(keys), new_vectors.shape[1])
        x_UP[new] = new_vectors
        known = sorted(set(range(len(keys))).difference(new))
        if known and self.table_NP is not None:
            x_UP[known] = self.table_NP[[self.place_of[keys[u]] for u in known]]
        for u in known:
            self.place_of.move_to_end(keys[u])
        self._remember([keys[u] for u in new], new_vectors)
        self.asked += len(keys)
        self.hits += len(known)
        return x_UP[torch.from_numpy(batch.index_BT).to(device)]

    def _compute(self, chars_UW: Tensor) -> Tensor:
        """Run the network, a bounded number of words at a time."""
        return torch.cat([self.engine.word_vectors(part) for part in torch.split(chars_UW, WORDS_AT_ONCE)])

    @torch.inference_mode(False)  # else the table could be written in that mode only
    def _remember(self, keys: list[bytes], x_UP: Tensor) -> None:
        """Keep new words' vectors in the place of those used longest ago."""
        rows = {key: row for row, key in enumerate(keys)}  # strings with the same bytes, as far as they are read, are one word
        rows = dict(list(rows.items())[: self.places])
        if self.table_NP is None:
            self.table_NP = x_UP.new_empty(0, x_UP.shape[1])
        needed = min(len(self.place_of) + len(rows), self.places)
        if needed > len(self.table_NP):  # twice as large, so that it is seldom copied; as large as its limit only if need be
            more = min(max(needed, 2 * len(self.table_NP)), self.places) - len(self.table_NP)
            self.table_NP = torch.cat([self.table_NP, x_UP.new_empty(more, x_UP.shape[1])])
        places = []
        try:
            for key in rows:
                place = len(self.place_of) if len(self.place_of) < self.places else self.place_of.popitem(last=False)[1]
                self.place_of[key] = place
                places.append(place)
            self.table_NP[places] = x_UP[list(rows.values())]
        except BaseException:  # out of memory, an interrupt: no word may be left with a place that holds another's vector
            self.place_of.clear()
            raise
