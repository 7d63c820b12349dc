"""ELMo as a layer of a torch model: equation (1) of the paper.

    ELMo_t = γ · Σ_j softmax(w)_j · h_{j,t}          w and γ are the task's; h_j are the biLM's layers

B sentences, T tokens of the longest one (here without marks), L layers, the word vectors counted, D width.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from elmokit.embedding.elmo import Elmo
from elmokit.embedding.fingerprint import fingerprint
from elmokit.embedding.inputs import Inputs
from elmokit.model.scalar_mix import ScalarMix
from elmokit.text.batch import WordBatch

SHA256 = "elmo_sha256"


class ElmoOutput(NamedTuple):
    """What `ElmoEmbedding` gives."""

    mixes: list[Tensor]
    """One x_BTD for each mix, without the sentence marks, zero at padding."""
    mask_BT: Tensor
    """True at tokens."""


class ElmoEmbedding(nn.Module):
    """Context vectors inside a torch model: a biLM and the task's own mixes of its layers.

    Frozen, the biLM belongs to `elmo`: it is neither in `parameters()` nor in `state_dict()`, stays in evaluation mode
    and moves with this module. The state dict then holds the mixes and the biLM's SHA-256, so that they are never
    loaded over another model. Trainable, it is in both.

    Args:
        elmo: The model.
        num_mixes: How many mixes of the layers are learned, each with weights of its own.
        dropout: Probability of dropping a number of a mix in training.
        trainable: Whether the biLM learns too.
        layer_norm: Whether each layer is normalized over the whole batch, sentence marks counted, before it is mixed.

    Raises:
        ValueError: Something else than an `Elmo`, less than one mix, or a dropout that is no probability below 1.
    """

    def __init__(
        self, elmo: Elmo, num_mixes: int = 1, dropout: float = 0.5, trainable: bool = False, layer_norm: bool = False
    ) -> None:
        super().__init__()
        given: object = elmo
        if not isinstance(given, Elmo):
            example = f"ElmoEmbedding(Elmo.from_pretrained({given if isinstance(given, str) else 'en-small'!r}))"
            raise ValueError(f"elmo is {type(given).__name__}, not an Elmo; give one: {example}")
        if num_mixes < 1:
            raise ValueError(f"num_mixes must be 1 or more, not {num_mixes}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {dropout}")
        self.elmo = elmo  # no torch module: its weights are registered below, if at all
        self.trainable = trainable
        self.mixes = nn.ModuleList(ScalarMix(elmo.num_layers, layer_norm) for _ in range(num_mixes)).to(elmo.device)
        self.dropout = nn.Dropout(dropout)
        if trainable:
            self.bilm = elmo.bilm
        else:
            self.register_buffer(SHA256, torch.frombuffer(bytearray(fingerprint(elmo.bilm)), dtype=torch.uint8))

    @classmethod
    def with_mixes_of(cls, elmo: Elmo, dropout: float = 0.5, trainable: bool = False) -> Self:
        """Begin with the mixes that came with a model, as with an AllenNLP task archive, instead of plain means.

        Args:
            elmo: The model.
            dropout: Probability of dropping a number of a mix in training.
            trainable: Whether the biLM learns too.

        Raises:
            ValueError: None came with it.
        """
        came = elmo.checkpoint.mixes
        if not came:
            raise ValueError(f"{elmo.checkpoint.origin}: no mixes came with this model; say ElmoEmbedding(elmo)")
        embedding = cls(elmo, len(came), dropout, trainable)
        for number, (weights, gamma, layer_norm) in enumerate(came):
            mix = ScalarMix(elmo.num_layers, layer_norm, list(weights))
            nn.init.constant_(mix.gamma, gamma)
            embedding.mixes[number] = mix.to(elmo.device)
        return embedding

    @property
    def dim(self) -> int:
        """D: width of each mix."""
        return self.elmo.dim

    def forward(self, sentences: Inputs | WordBatch) -> ElmoOutput:
        """Compute the mixes.

        Args:
            sentences: Lists of words, texts, or the batch that `elmo.collate` made of them.

        Raises:
            ValueError: Neither of these.
        """
        batch = sentences if isinstance(sentences, WordBatch) else self.elmo.collate(sentences)
        learns = self.trainable and torch.is_grad_enabled()
        layers_LBTD, _ = self.elmo.bilm(batch) if learns else self.elmo.engine.layers(batch)
        lengths_B1 = torch.from_numpy(batch.lengths_B).to(layers_LBTD.device)[:, None]
        positions_T = torch.arange(layers_LBTD.shape[2], device=layers_LBTD.device)
        mask_BT = positions_T[:-2] < lengths_B1 - 2
        mixes = [self.dropout(mix(layers_LBTD, positions_T < lengths_B1)) for mix in self.mixes]
        # The mark at a sentence's end stands at another place in each row: the mask takes it away with the padding.
        return ElmoOutput([x_BTD[:, 1:-1] * mask_BT.unsqueeze(-1) for x_BTD in mixes], mask_BT)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Let the frozen biLM follow to another device or type."""
        apply_here: Callable[..., Self] = super()._apply  # PyTorch gives these methods no types
        apply_below: Callable[..., object] = self.elmo.bilm._apply
        if not self.trainable:
            apply_below(fn)
        return apply_here(fn, recurse)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Refuse mixes that were learned over another biLM."""
        own, stored = self._buffers.get(SHA256), state_dict.get(prefix + SHA256)
        if own is not None and stored is not None and not torch.equal(stored.cpu(), own.cpu()):
            errors: list[str] = rest[-1]
            errors.append(
                f"{prefix}{SHA256}: these mixes belong to a model with SHA-256 {_hex(stored)}, "
                f"this one has {_hex(own)}; load that model with Elmo.from_pretrained"
            )
            return
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _hex(sha256: Tensor) -> str:
    """Its first digits, as people compare them."""
    return f"{bytes(sha256.tolist()).hex()[:16]}…"
