"""AllenNLP's biLM: character ids → layers, with its parameter names and its state.

B sentences, T words of the longest, W characters, U distinct words, P one direction's width, D = 2P.
"""

import warnings
from typing import Self

import torch
from torch import Tensor, nn

from elmokit.checkpoints.allennlp_layout import part, words_from_allennlp, words_to_allennlp
from elmokit.checkpoints.checkpoint import Checkpoint
from elmokit.compat.allennlp.boundaries import add_sentence_boundary_token_ids
from elmokit.compat.allennlp.characters import batch_to_ids
from elmokit.compat.allennlp.files import read_checkpoint
from elmokit.compat.allennlp.highway import Highway
from elmokit.compat.allennlp.lstm import ElmoLstm
from elmokit.compat.allennlp.network import Borrowed
from elmokit.config import CharCnnConfig
from elmokit.model.char_cnn import CharCnn
from elmokit.model.without_values import without_values
from elmokit.text.vocabulary import BOS, EOS

CACHED_AT_ONCE = 512
"""Words whose vectors are computed together for the cache."""


class _ElmoCharacterEncoder(nn.Module):
    """Character ids → word vectors, marks put round each sentence.

    Args:
        options_file: `options.json`: a path or a published address.
        weight_file: The HDF5 file.
        requires_grad: Whether its weights learn.

    Raises:
        ValueError: A file cannot be read.
        FormatError: A file is damaged.
    """

    def __init__(self, options_file: str, weight_file: str, requires_grad: bool = False) -> None:
        super().__init__()
        self._take(read_checkpoint(options_file, weight_file), requires_grad)

    @classmethod
    def of(cls, checkpoint: Checkpoint, requires_grad: bool) -> Self:
        """Make one from a model in memory."""
        encoder = cls.__new__(cls)
        nn.Module.__init__(encoder)
        encoder._take(checkpoint, requires_grad)
        return encoder

    def _take(self, checkpoint: Checkpoint, requires_grad: bool) -> None:
        """Make the parameters, and the network of ours that computes with them."""
        self.output_dim = checkpoint.config.bilm.output_dim
        self.requires_grad = requires_grad
        char_cnn = checkpoint.config.bilm.char_cnn
        if char_cnn is None or char_cnn.code_points is not None:
            raise ValueError(
                f"{checkpoint.origin}: AllenNLP's classes read UTF-8 characters, this model does not; use elmokit.Elmo"
            )
        with without_values():
            self._network = Borrowed(CharCnn(char_cnn, self.output_dim))
            self._add_modules(char_cnn)
        theirs = words_to_allennlp(part(checkpoint.bilm, "words."))
        self.load_state_dict({name: tensor.clone() for name, tensor in theirs.items()}, assign=True)
        self.requires_grad_(requires_grad)

    def _add_modules(self, config: CharCnnConfig) -> None:
        """Make AllenNLP's parameters, without values."""
        self._char_embedding_weights = nn.Parameter(torch.empty(262, config.embedding_dim))
        for i, (width, n) in enumerate(config.filters):
            self.add_module(f"char_conv_{i}", nn.Conv1d(config.embedding_dim, n, width))
        self._highways = Highway(config.features, config.highways)
        if config.projection:
            self._projection = nn.Linear(config.features, self.output_dim)

    def get_output_dim(self) -> int:
        """Give P."""
        return self.output_dim

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Compute word vectors.

        Args:
            inputs: Character ids (B, T, 50) as `batch_to_ids` makes them.

        Returns:
            "mask" (B, T + 2), and "token_embedding" (B, T + 2, P).
        """
        marks = (batch_to_ids([[BOS, EOS]])[0]).to(inputs)
        ids_BTW, mask_BT = add_sentence_boundary_token_ids(inputs, (inputs > 0).any(-1), marks[0], marks[1])
        words_UW, index_N = torch.unique(ids_BTW.flatten(0, 1), dim=0, return_inverse=True)
        x_UP = self._embed(words_UW)
        return {"mask": mask_BT, "token_embedding": x_UP[index_N].view(*mask_BT.shape, self.output_dim)}

    def _embed(self, words_UW: Tensor) -> Tensor:
        """Compute the vectors of distinct words; those with masked characters (id 0: the zero vector) apart.

        Our network has no id for a masked character. It stands as one more row, which makes the network read all
        50 places: too slow for the others.
        """
        weights = words_from_allennlp(dict(self.named_parameters()))
        masked_U = (words_UW == 0).any(1)
        x_UP = self._network(weights, words_UW[~masked_U] - 1)
        if not masked_U.any():
            read: Tensor = x_UP
            return read
        table_CE = weights["embedding.weight"]
        weights["embedding.weight"] = torch.cat([table_CE, self._char_embedding_weights[:1]])
        ids_UW = torch.where(words_UW == 0, len(table_CE), words_UW - 1)[masked_U]
        masked_UP = self._network(weights, ids_UW)
        places = torch.cat([torch.nonzero(~masked_U)[:, 0], torch.nonzero(masked_U)[:, 0]])
        together: Tensor = torch.cat([x_UP, masked_UP])[torch.argsort(places)]
        return together


class _ElmoBiLm(nn.Module):
    """Character ids → the layers of the biLM.

    Args:
        options_file: `options.json`: a path or a published address.
        weight_file: The HDF5 file.
        requires_grad: Whether its weights learn.
        vocab_to_cache: Words whose vectors are computed once, so that word ids can be given; the first is padding.

    Raises:
        ValueError: A file cannot be read, or the model has no projection or reads forward alone.
        FormatError: A file is damaged.
    """

    def __init__(
        self, options_file: str, weight_file: str, requires_grad: bool = False, vocab_to_cache: list[str] | None = None
    ) -> None:
        super().__init__()
        checkpoint = read_checkpoint(options_file, weight_file)
        config = checkpoint.config.bilm
        if config.projection_dim is None:
            raise ValueError(f"{options_file}: AllenNLP's classes need an LSTM with a projection; use elmokit.Elmo")
        if not config.bidirectional:
            raise ValueError(f"{options_file}: AllenNLP's classes need a model of both directions; use elmokit.Elmo")
        self._requires_grad = requires_grad
        self._token_embedder = _ElmoCharacterEncoder.of(checkpoint, requires_grad)
        self._bos_embedding: Tensor | None = None
        self._eos_embedding: Tensor | None = None
        self._word_embedding: nn.Embedding | None = None
        self._elmo_lstm = ElmoLstm(
            input_size=config.output_dim,
            hidden_size=config.output_dim,
            cell_size=config.cell_dim,
            num_layers=config.layers,
            requires_grad=requires_grad,
            memory_cell_clip_value=config.cell_clip,
            state_projection_clip_value=config.projection_clip,
        )
        self._elmo_lstm.use_network(config)
        self._elmo_lstm.take_weights(checkpoint.bilm)
        self.num_layers = config.layers + 1
        if vocab_to_cache:
            if requires_grad:
                warnings.warn(
                    "requires_grad with vocab_to_cache: the words' vectors learn apart from the character CNN", stacklevel=2
                )
            self.create_cached_cnn_embeddings(list(vocab_to_cache))

    def get_output_dim(self) -> int:
        """Give D, both directions together."""
        return 2 * self._token_embedder.get_output_dim()

    def create_cached_cnn_embeddings(self, tokens: list[str]) -> None:
        """Compute the vectors of these words once; word ids are places in this list, and 0 is padding."""
        with torch.no_grad():
            ids_NW = batch_to_ids([[BOS, EOS, *tokens]])[0].to(self._token_embedder._char_embedding_weights.device)
            x_NP = torch.cat([self._token_embedder._embed(ids) for ids in torch.split(ids_NW, CACHED_AT_ONCE)])
        self._bos_embedding, self._eos_embedding = x_NP[0], x_NP[1]
        x_NP[2] = 0
        self._word_embedding = nn.Embedding(len(tokens), x_NP.shape[1], padding_idx=0, _weight=x_NP[2:].clone())
        self._word_embedding.requires_grad_(self._requires_grad)

    def forward(self, inputs: Tensor, word_inputs: Tensor | None = None) -> dict[str, Tensor | list[Tensor]]:
        """Compute all layers.

        Args:
            inputs: Character ids (B, T, 50).
            word_inputs: Ids (B, T) of the cached words, 0 for padding. If one is not in the cache, or there is none,
                the characters count.

        Returns:
            "activations": L + 1 tensors (B, T + 2, D), zero at padding; "mask" (B, T + 2).
        """
        x_BTP, mask_BT = self._word_vectors(inputs, word_inputs)
        layers_LBTD = self._elmo_lstm(x_BTP, mask_BT)
        first_BTD = torch.cat([x_BTP, x_BTP], -1) * mask_BT.unsqueeze(-1)
        return {"activations": [first_BTD, *layers_LBTD.unbind(0)], "mask": mask_BT}

    def _word_vectors(self, inputs: Tensor, word_inputs: Tensor | None) -> tuple[Tensor, Tensor]:
        """Take vectors from the cache if it has all words, else compute them; (B, T + 2, P) and the mask."""
        cache = self._word_embedding
        if cache is None or word_inputs is None or not _all_cached(word_inputs, cache.num_embeddings):
            found = self._token_embedder(inputs)
            return found["token_embedding"], found["mask"]
        words_BT = word_inputs > 0
        x_BTP, _ = add_sentence_boundary_token_ids(cache(word_inputs), words_BT, self._bos_embedding, self._eos_embedding)
        # Not that function's own mask: a word's vector need not have a number above zero.
        return x_BTP, add_sentence_boundary_token_ids(words_BT.long(), words_BT, 1, 1)[1]


def _all_cached(word_inputs: Tensor, places: int) -> bool:
    """Whether all ids are in the table."""
    return bool(((word_inputs >= 0) & (word_inputs < places)).all())
