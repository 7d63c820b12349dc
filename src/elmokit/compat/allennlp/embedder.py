"""`ElmoEmbedder` of AllenNLP 0.9: sentences → all layers.

B sentences, N words of a sentence, T words of the longest, L layers with the word vectors, D width.
"""

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Literal

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from elmokit.atomic import atomic_path
from elmokit.compat.allennlp.bilm import _ElmoBiLm
from elmokit.compat.allennlp.boundaries import remove_sentence_boundaries
from elmokit.compat.allennlp.characters import batch_to_ids
from elmokit.compat.allennlp.elmo import DEFAULT_OPTIONS_FILE, DEFAULT_WEIGHT_FILE
from elmokit.embedding.h5 import interrupts_held, new_h5_file
from elmokit.kernels.device import choose_device

Floats = NDArray[np.float32]
OutputFormat = Literal["all", "top", "average"]
NAME_BYTES = 128
"""Room in the file for each sentence's name and table entry, besides its text and numbers."""


class ElmoEmbedder:
    """Sentences → layers. The state of each row of a batch is carried to the next batch, as AllenNLP does.

    Args:
        options_file: `options.json`: a path or a published address.
        weight_file: The HDF5 file.
        cuda_device: The number of a CUDA device; -1 for the CPU.

    Raises:
        ValueError: A file cannot be read.
        FormatError: A file is damaged.
    """

    def __init__(
        self, options_file: str = DEFAULT_OPTIONS_FILE, weight_file: str = DEFAULT_WEIGHT_FILE, cuda_device: int = -1
    ) -> None:
        self.cuda_device = cuda_device
        self._device = choose_device("cpu" if cuda_device < 0 else f"cuda:{cuda_device}", "cuda_device: ")
        self.elmo_bilm = _ElmoBiLm(options_file, weight_file).to(self._device).eval()

    def batch_to_embeddings(self, batch: list[list[str]]) -> tuple[Tensor, Tensor]:
        """Give the layers (B, L, T, D) of a batch, and its mask (B, T)."""
        with torch.no_grad():
            found = self.elmo_bilm(batch_to_ids(batch).to(self._device))
            words = [remove_sentence_boundaries(layer, found["mask"]) for layer in found["activations"]]
        return torch.stack([x_BTD for x_BTD, _ in words], 1), words[0][1]

    def embed_sentence(self, sentence: list[str]) -> Floats:
        """Give the layers (L, N, D) of one sentence."""
        return self.embed_batch([sentence])[0]

    def embed_batch(self, batch: list[list[str]]) -> list[Floats]:
        """Give the layers (L, N, D) of each sentence; a lone `[]` gives zeros and leaves the state alone."""
        if batch == [[]]:
            return [np.zeros((self.elmo_bilm.num_layers, 0, self.elmo_bilm.get_output_dim()), np.float32)]
        layers_BLTD, mask_BT = self.batch_to_embeddings(batch)
        lengths = mask_BT.sum(1).tolist()
        return [layers_LTD[:, :length].cpu().numpy() for layers_LTD, length in zip(layers_BLTD, lengths, strict=True)]

    def embed_sentences(self, sentences: Iterable[list[str]], batch_size: int = 64) -> Iterator[Floats]:
        """Give the layers (L, N, D) of sentence after sentence, computed in batches of so many."""
        iterator = iter(sentences)
        while batch := list(islice(iterator, batch_size)):
            yield from self.embed_batch(batch)

    def embed_file(
        self,
        input_file: IO[str],
        output_file_path: str | Path,
        output_format: OutputFormat = "all",
        batch_size: int = 64,
        forget_sentences: bool = False,
        use_sentence_keys: bool = False,
    ) -> None:
        """Write the vectors of a file of sentences, one a line, words apart by blanks, to an HDF5 file.

        Dataset "0", "1", … holds the vectors of a line; `sentence_to_index` holds which line a sentence stands on.

        Args:
            input_file: An open text file.
            output_file_path: The new HDF5 file.
            output_format: "all" layers (L, N, D), the "top" one or their "average" (N, D).
            batch_size: Sentences computed together.
            forget_sentences: Whether `sentence_to_index` is left out.
            use_sentence_keys: Whether datasets are named by their sentence instead of its number.

        Raises:
            ValueError: A blank line, an unknown format, or a sentence that stands there twice while it names its dataset.
        """
        if output_format not in _FORMATS:
            raise ValueError(f"output_format must be one of {', '.join(_FORMATS)}, not {output_format!r}")
        sentences = [line.strip() for line in input_file]
        blank = [number for number, sentence in enumerate(sentences) if not sentence]
        if blank:
            raise ValueError(f"Your input file contains empty lines at indexes {blank}. Please remove them.")
        if use_sentence_keys:
            if slashed := [sentence for sentence in sentences if "/" in sentence]:
                warnings.warn(f"{slashed[0]!r} has a slash, so its dataset lies in a group of the file", stacklevel=2)
            twice, count = Counter(sentences).most_common(1)[0] if sentences else ("", 0)
            if count > 1:
                raise ValueError(f"{twice!r} stands there {count} times: use_sentence_keys=False, or remove the others")
        names = sentences if use_sentence_keys else [str(number) for number in range(len(sentences))]
        vectors = self.embed_sentences((sentence.split() for sentence in sentences), batch_size)
        table = None if forget_sentences or use_sentence_keys else dict(zip(sentences, names, strict=True))
        items = tqdm(zip(names, vectors, strict=True), total=len(names), disable=None)
        _write(Path(output_file_path), items, _FORMATS[output_format], table)


def _write(
    path: Path, items: Iterable[tuple[str, Floats]], choose: Callable[[Floats], Floats], table: dict[str, str] | None
) -> None:
    """Write one dataset for each sentence, and the table."""
    with atomic_path(path) as temporary, new_h5_file(temporary) as (file, space):
        for name, layers_LND in items:
            x = choose(layers_LND)
            space.need(x.nbytes + 2 * len(name.encode()) + NAME_BYTES * (len(file) + 1))
            with interrupts_held():
                file.create_dataset(name, data=x)
        if table is not None:
            text = json.dumps(table)
            space.need(2 * len(text))
            file.create_dataset("sentence_to_index", (1,), dtype=h5py.string_dtype())[0] = text


def _all(layers_LND: Floats) -> Floats:
    return layers_LND


def _top(layers_LND: Floats) -> Floats:
    top: Floats = layers_LND[-1]
    return top


def _average(layers_LND: Floats) -> Floats:
    average: Floats = layers_LND.mean(0)
    return average


_FORMATS: dict[str, Callable[[Floats], Floats]] = {"all": _all, "top": _top, "average": _average}
