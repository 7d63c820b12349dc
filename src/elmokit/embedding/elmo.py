"""`Elmo`: a model that turns texts and sentences into context vectors.

L layers (the word vectors, layer 0, counted), N tokens of a sentence, D = 2P width of a vector.
"""

import dataclasses
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self, overload

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from tqdm import tqdm

from elmokit.checkpoints.checkpoint import Checkpoint, build_bilm, random_checkpoint
from elmokit.checkpoints.fetch import Source
from elmokit.checkpoints.folder import save_folder
from elmokit.checkpoints.hub import upload_to_hub
from elmokit.checkpoints.load import load_checkpoint
from elmokit.config import ElmoConfig
from elmokit.embedding.document import Document, document_sentences, embed_document
from elmokit.embedding.encoder import Finish, SentenceEncoder, keep_vectors
from elmokit.embedding.inputs import Collate, Inputs, read_inputs
from elmokit.embedding.layers import Layers, Pooling, check_layers, check_pooling, pool, unit_length
from elmokit.embedding.predicting import Predicting
from elmokit.embedding.similarity import cosines, mean_vector
from elmokit.embedding.spans import Span, SpanPools, tokens_of_spans
from elmokit.embedding.words import WordVectors
from elmokit.kernels.device import choose_device
from elmokit.kernels.engine import Engine
from elmokit.kernels.products import Precision, check_precision
from elmokit.text.tokenizers import Token

LONG_INPUT = 50_000
"""Tokens from which a progress bar is worth its line."""


class Elmo(Predicting):
    """A pretrained biLM with its rules for text. It may be called from several threads, which wait for each other in part.

    Weights may change between calls; after single numbers were written by way of `.data`, call `engine.forget()`.

    Args:
        checkpoint: The model in memory; `from_pretrained` and `from_config` make one.
        device: Where it computes, as PyTorch names devices.
        precision: Of the arithmetic that makes vectors.

    Raises:
        ValueError: An unknown precision.
    """

    def __init__(self, checkpoint: Checkpoint, device: str | torch.device = "cpu", precision: Precision = "float32") -> None:
        self.bilm = build_bilm(checkpoint).to(device)
        """The network, in evaluation mode."""
        self.checkpoint = dataclasses.replace(checkpoint, bilm={})
        """What else came with the model: vocabulary, head, layer means, card. The weights are in `bilm` alone."""
        self.reader = checkpoint.reader
        """How it reads words."""
        self.word_vectors = WordVectors(Engine(self.bilm, precision), self.reader)
        """Makes words' vectors, and remembers those used last."""

    def __repr__(self) -> str:
        return f"Elmo({self.checkpoint.origin}, dim {self.dim}, {self.num_layers} layers, {self.device}, {self.engine.precision})"

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        device: str | torch.device = "auto",
        precision: Precision = "float32",
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: str | None = None,
    ) -> Self:
        """Load a model.

        Args:
            name_or_path: A bundled name ("en-small"), a file or folder of any known format, the name ("allennlp/original", see
                `elmo models`) or address of a published model, or a model of the Hub ("owner/name").
            device: "auto" takes the CUDA device if there is one, else the CPU; or any name that PyTorch knows.
            precision: Of the arithmetic that makes vectors: "bfloat16" and "int8" are faster and a little less exact.
            revision: Of a model on the Hub: a branch, a tag or a commit.
            cache_dir: Where fetched models are kept; None for the Hub's own cache, or `ELMOKIT_CACHE` for the other ones.
            local_files_only: Nothing is fetched, as with `HF_HUB_OFFLINE=1`.
            token: For private models of the Hub.

        Raises:
            ValueError: No such model or it cannot be had, an unknown device, or what this version does not support yet.
            FormatError: The model's files are damaged.
        """
        check_precision(precision)
        place = choose_device(device)  # before a large file is read in vain
        source = Source(revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token)
        return cls(load_checkpoint(name_or_path, source), place, precision)

    @classmethod
    def from_config(cls, config: ElmoConfig, seed: int = 0, precision: Precision = "float32") -> Self:
        """Make a model with random weights, on the CPU: for tests, and as a baseline."""
        return cls(random_checkpoint(config, seed), precision=precision)

    def untrained(self, seed: int = 0) -> Self:
        """Make the same model with random weights, on the CPU: a baseline for what training has taught it."""
        random = random_checkpoint(self.config, seed)
        own = self.checkpoint
        known = dataclasses.replace(random, input_words=own.input_words, input_characters=own.input_characters)
        return type(self)(known)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a model folder: the weights as they are now, and all else that came with the model.

        Raises:
            ValueError: `folder` holds something else than a model.
        """
        save_folder(dataclasses.replace(self.checkpoint, bilm=self.bilm.state_dict()), folder)

    @property
    def config(self) -> ElmoConfig:
        """What the model is, and how strings become its words."""
        return self.checkpoint.config

    @property
    def dim(self) -> int:
        """D: numbers in a vector, both directions joined (of a model that reads forward alone: of this one)."""
        return self.config.bilm.dim

    @property
    def num_layers(self) -> int:
        """L: layers to choose from, the word vectors (layer 0) counted."""
        return self.config.bilm.layers + 1

    @property
    def engine(self) -> Engine:
        """What runs the network to make vectors."""
        return self.word_vectors.engine

    @property
    def word_cache(self) -> int:
        """How many words' vectors are kept, from call to call, those used last: 20,000; 0 for none. Results do not change.

        Setting it forgets them. `word_vectors.hits` of `word_vectors.asked` words were found so far.
        """
        return self.word_vectors.places

    @word_cache.setter
    def word_cache(self, places: int) -> None:
        self.word_vectors = WordVectors(self.engine, self.reader, places)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.bilm.device

    @property
    def collate(self) -> Collate:
        """Sentences → `WordBatch`: small and picklable, for the `collate_fn` of a DataLoader."""
        return Collate(self.config, self.reader)

    def to(self, device: str | torch.device) -> Self:
        """Move the network to a device ("auto": as `from_pretrained` chooses) and give this same object."""
        self.bilm.to(choose_device(device))
        return self

    @overload  # the first signature that fits counts
    def tokenize(self, texts: str) -> list[Token]: ...  # type: ignore[overload-overlap]  # a str is an iterable of str too
    @overload
    def tokenize(self, texts: Iterable[str]) -> list[list[Token]]: ...
    def tokenize(self, texts: str | Iterable[str]) -> list[Token] | list[list[Token]]:
        """Cut texts into tokens as they stand there, with their places in characters.

        Args:
            texts: One text, or several.

        Returns:
            A list of `Token(text, start, end)` for each text; just one list for one text.

        Raises:
            ValueError: Something else than texts.
        """
        read = read_inputs(texts, self.config.text.tokenizer, warn=False)
        if read.tokens is None and read.words:
            raise ValueError("texts must be strings; these are split into words already")
        tokens = read.tokens or []
        return tokens[0] if read.single else tokens

    def encode_tokens(
        self,
        inputs: Inputs,
        *,
        batch_tokens: int = 8192,
        batch_size: int | None = None,
        layers: Layers = "mean",
        normalize_embeddings: bool = False,
        convert_to_tensor: bool = False,
        return_tokens: bool = False,
        show_progress_bar: bool | None = None,
    ) -> Any:
        """Give the vectors of every token.

        Args:
            inputs: One text; a list of texts, each taken as one sentence; or a list of sentences, each a list of words.
            batch_tokens: Tokens computed at once (rows × longest row), marks counted; halves on out-of-memory.
            batch_size: Sentences computed at once at the most; None for no limit.
            layers: "mean" (of all layers), "top", "all" or a layer's number, from 0 for the word vectors.
            normalize_embeddings: Whether vectors are scaled to length 1.
            convert_to_tensor: Whether to give tensors on the model's device instead of NumPy arrays.
            return_tokens: Whether to give the words too.
            show_progress_bar: None shows one on a terminal if the input is long.

        Returns:
            A list of float32 arrays (N, D), or (L, N, D) for "all"; one array for one text.
            With `return_tokens` a pair: that, and the words of each sentence as they stand in the input.

        Raises:
            ValueError: An option or input of the wrong kind.
        """
        read = read_inputs(inputs, self.config.text.tokenizer)

        def finish(number: int, x_ND: Tensor) -> Tensor:
            return unit_length(x_ND) if normalize_embeddings else keep_vectors(number, x_ND)

        encoder = self._encoder(finish, layers, batch_tokens, batch_size, convert_to_tensor)
        found = self._run(encoder, read.words, show_progress_bar)
        vectors = found if convert_to_tensor else [x_ND.numpy() for x_ND in found]
        answer, words = (vectors[0], read.words[0]) if read.single else (vectors, read.words)
        return (answer, words) if return_tokens else answer

    def encode(
        self,
        inputs: Inputs,
        *,
        batch_tokens: int = 8192,
        batch_size: int | None = None,
        layers: Layers = "mean",
        pooling: Pooling = "mean",
        normalize_embeddings: bool = False,
        convert_to_tensor: bool = False,
        show_progress_bar: bool | None = None,
    ) -> Any:
        """Give one vector for each text: the mean of its tokens' vectors, zeros if it has none.

        Args:
            inputs: One text, a list of texts, or a list of sentences, each a list of words.
            batch_tokens: Tokens computed at once (rows × longest row), marks counted; halves on out-of-memory.
            batch_size: Texts computed at once at the most; None for no limit.
            layers: "mean" (of all layers), "top", "all" or a layer's number, from 0 for the word vectors.
            pooling: "mean" or "max" over the tokens.
            normalize_embeddings: Whether vectors are scaled to length 1.
            convert_to_tensor: Whether to give a tensor on the model's device instead of a NumPy array.
            show_progress_bar: None shows one on a terminal if the input is long.

        Returns:
            A float32 array (texts, D), or (texts, L, D) for "all"; without the first axis for one text.

        Raises:
            ValueError: An option or input of the wrong kind.
        """
        check_pooling(pooling)
        read = read_inputs(inputs, self.config.text.tokenizer)

        def finish(_: int, x_ND: Tensor) -> Tensor:
            return pool(x_ND, pooling)

        encoder = self._encoder(finish, layers, batch_tokens, batch_size, convert_to_tensor)
        vectors = self._stacked(self._run(encoder, read.words, show_progress_bar), encoder, normalize_embeddings)
        answer = vectors[0] if read.single else vectors
        return answer if convert_to_tensor else answer.numpy()

    def encode_spans(
        self,
        texts: str | Sequence[str],
        spans: Iterable[Span],
        *,
        batch_tokens: int = 8192,
        batch_size: int | None = None,
        layers: Layers = "mean",
        pooling: Pooling = "mean",
        normalize_embeddings: bool = False,
        convert_to_tensor: bool = False,
        show_progress_bar: bool | None = None,
    ) -> Any:
        """Give one vector for each span of text: the mean of the tokens that lie in it, if only in part.

        Args:
            texts: One text or several, each taken as one sentence.
            spans: (number of the text, start, end) in characters, the end not included.
            batch_tokens: Tokens computed at once (rows × longest row), marks counted; halves on out-of-memory.
            batch_size: Texts computed at once at the most; None for no limit.
            layers: "mean" (of all layers), "top", "all" or a layer's number, from 0 for the word vectors.
            pooling: "mean" or "max" over the tokens.
            normalize_embeddings: Whether vectors are scaled to length 1.
            convert_to_tensor: Whether to give a tensor on the model's device instead of a NumPy array.
            show_progress_bar: None shows one on a terminal if the input is long.

        Returns:
            A float32 array (spans, D), or (spans, L, D) for "all".

        Raises:
            ValueError: A span outside its text or without a token, an option or input of the wrong kind.
        """
        check_pooling(pooling)
        texts = [texts] if isinstance(texts, str) else list(texts)
        tokens = self.tokenize(texts)
        pools = SpanPools(tokens_of_spans(spans, texts, tokens), pooling)
        encoder = self._encoder(pools.add, layers, batch_tokens, batch_size, convert_to_tensor)
        self._run(encoder, [[token.text for token in tokens[number]] for number in pools.texts], show_progress_bar)
        vectors = self._stacked(pools.vectors(), encoder, normalize_embeddings)
        return vectors if convert_to_tensor else vectors.numpy()

    def encode_document(self, document: Document, *, layers: Layers = "mean", window: int = 4096, out: Any = None) -> Any:
        """Give the vectors of a long text, exactly and, but for the result, in bounded memory.

        A list of words is one sentence of any length. A list of sentences, or a string, which is split into sentences
        and words, is read as the model was trained: marks round each sentence, both directions' states carried from
        sentence to sentence in file order (AllenNLP's stateful output at batch size 1).

        Args:
            document: A list of words, a list of sentences as lists of words, or a string.
            layers: "mean" (of all layers), "top", "all" or a layer's number, from 0 for the word vectors.
            window: Tokens computed at once; it changes memory and speed, not the result.
            out: Where to write: the path of a `.npy` file, which is replaced if it is there, or an array-like of floats (NumPy,
                h5py, …) in the result's shape.

        Returns:
            A float32 array of all tokens (N, D), or (L, N, D) for "all"; with `out` that array, or the file memory-mapped.

        Raises:
            ValueError: An option, document or `out` of the wrong kind.
        """
        check_layers(layers, self.num_layers)
        sentences, read_forms = document_sentences(document, self.config), self.collate.read_forms
        return embed_document(self.word_vectors, sentences, layers=layers, window=window, out=out, read_forms=read_forms)

    def similarity(
        self, a_ND: ArrayLike | Tensor, b_MD: ArrayLike | Tensor, center: bool = True, *, layers: Layers = "mean"
    ) -> Any:
        """Give cosines between vectors of this model.

        Raw cosines of ELMo's vectors are high everywhere, since they lie in a cone; the model's mean vector, subtracted
        first, leaves what tells them apart.

        Args:
            a_ND: Vectors, or a single one (D), not scaled to length 1 if they are to be centered.
            b_MD: Vectors, or a single one.
            center: Whether the model's mean vector is subtracted.
            layers: Which layers the vectors were asked for, "all" excepted: the mean subtracted is theirs.

        Returns:
            Cosines (N, M), 0 where a vector is zero; a tensor if `a_ND` is one.

        Raises:
            ValueError: The model has no layer means, or the shapes do not fit.
        """
        check_layers(layers, self.num_layers)
        return cosines(a_ND, b_MD, mean_vector(self.checkpoint.layer_means_LD, layers) if center else None, self.dim)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str | None = None,
        revision: str | None = None,
    ) -> str:
        """Upload the model folder to the Hugging Face Hub; arguments, result and errors are those of `upload_to_hub`."""
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return upload_to_hub(
                Path(folder),
                repo_id,
                languages=self.config.languages,
                license=self.config.license,
                private=private,
                token=token,
                commit_message=commit_message,
                revision=revision,
            )

    def _encoder(
        self, finish: Finish, layers: Layers, batch_tokens: int, batch_size: int | None, convert_to_tensor: bool
    ) -> SentenceEncoder:
        """What runs one call."""
        check_layers(layers, self.num_layers)
        on = self.device if convert_to_tensor else torch.device("cpu")
        return SentenceEncoder(
            self.word_vectors, layers=layers, batch_tokens=batch_tokens, batch_size=batch_size, finish=finish, on=on
        )

    def _run(self, encoder: SentenceEncoder, sentences: list[list[str]], show_progress_bar: bool | None) -> list[Tensor]:
        """Run it over words as the user wrote them."""
        total = sum(map(len, sentences))
        if show_progress_bar is None:
            show_progress_bar = total >= LONG_INPUT and sys.stderr.isatty()
        with tqdm(total=total, unit=" tokens", unit_scale=True, disable=not show_progress_bar) as bar:
            encoder.advance = bar.update
            return encoder(self.collate.read_forms(sentences))

    def _stacked(self, vectors: list[Tensor], encoder: SentenceEncoder, normalize_embeddings: bool) -> Tensor:
        """Vectors on a new first axis, of the right shape even if there is none."""
        layers = (self.num_layers,) if encoder.layers == "all" else ()
        stacked = torch.stack(vectors) if vectors else torch.empty((0, *layers, self.dim), device=encoder.on)
        return unit_length(stacked) if normalize_embeddings else stacked
