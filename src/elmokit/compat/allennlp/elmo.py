"""AllenNLP's `Elmo`: character ids → mixes of the biLM's layers.

B sentences, T words of the longest, D width of a mix.
"""

from typing import Any

from torch import Tensor, nn

from elmokit.compat.allennlp.bilm import _ElmoBiLm
from elmokit.compat.allennlp.boundaries import remove_sentence_boundaries
from elmokit.compat.allennlp.scalar_mix import ScalarMix

_ORIGINAL = "https://allennlp.s3.amazonaws.com/models/elmo/2x4096_512_2048cnn_2xhighway/elmo_2x4096_512_2048cnn_2xhighway_"
DEFAULT_OPTIONS_FILE = _ORIGINAL + "options.json"
DEFAULT_WEIGHT_FILE = _ORIGINAL + "weights.hdf5"


class Elmo(nn.Module):
    """One or more mixes of a biLM's layers.

    Args:
        options_file: `options.json`: a path or a published address.
        weight_file: The HDF5 file.
        num_output_representations: How many mixes.
        requires_grad: Whether the biLM learns.
        do_layer_norm: Whether each layer is normalized before mixing, by one mean and variance over the batch.
        dropout: On the mixes, in training.
        vocab_to_cache: Words whose vectors are computed once, so that `word_inputs` can be given; the first is padding.
        keep_sentence_boundaries: Whether the marks stay, so that the output is two places longer.
        scalar_mix_parameters: Fixed layer weights, before the softmax; None: they learn, from zeros.
        module: Compute with this `_ElmoBiLm` instead of reading files.

    Raises:
        ValueError: Both files and a module, or neither; a file cannot be read.
        FormatError: A file is damaged.
    """

    def __init__(
        self,
        options_file: str | None,
        weight_file: str | None,
        num_output_representations: int,
        requires_grad: bool = False,
        do_layer_norm: bool = False,
        dropout: float = 0.5,
        vocab_to_cache: list[str] | None = None,
        keep_sentence_boundaries: bool = False,
        scalar_mix_parameters: list[float] | None = None,
        module: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if module is not None:
            if options_file is not None or weight_file is not None:
                raise ValueError("Don't provide options_file or weight_file with module")
            self._elmo_lstm: Any = module
        else:
            if options_file is None or weight_file is None:
                raise ValueError("options_file and weight_file are needed where no module is given")
            self._elmo_lstm = _ElmoBiLm(options_file, weight_file, requires_grad, vocab_to_cache)
        self._has_cached_vocab = vocab_to_cache is not None
        self._keep_sentence_boundaries = keep_sentence_boundaries
        self._dropout = nn.Dropout(p=dropout)
        self._scalar_mixes: list[ScalarMix] = []
        for number in range(num_output_representations):
            mix = ScalarMix(self._elmo_lstm.num_layers, do_layer_norm, scalar_mix_parameters, scalar_mix_parameters is None)
            self.add_module(f"scalar_mix_{number}", mix)
            self._scalar_mixes.append(mix)

    def get_output_dim(self) -> int:
        """Give D."""
        width: int = self._elmo_lstm.get_output_dim()
        return width

    def forward(self, inputs: Tensor, word_inputs: Tensor | None = None) -> dict[str, Any]:
        """Compute the mixes.

        Args:
            inputs: Character ids (B, T, 50), or with more axes in front.
            word_inputs: Ids (B, T) of the cached words, or with more axes in front.

        Returns:
            "elmo_representations": a list of (…, T, D); "mask": (…, T), True at words. With sentence boundaries T + 2.
        """
        axes = inputs.shape[:-2]
        found = self._elmo_lstm(inputs.flatten(0, -3), None if word_inputs is None else word_inputs.flatten(0, -2))
        representations, mask_BT = [], found["mask"]
        for mix in self._scalar_mixes:
            x_BTD, mask_BT = mix(found["activations"], found["mask"]), found["mask"]
            if not self._keep_sentence_boundaries:
                x_BTD, mask_BT = remove_sentence_boundaries(x_BTD, mask_BT)
            representations.append(self._dropout(x_BTD).unflatten(0, axes))
        return {"elmo_representations": representations, "mask": mask_BT.unflatten(0, axes)}


class ElmoTokenEmbedder(nn.Module):
    """One mix, projected to another width if asked.

    Args:
        options_file: `options.json`: a path or a published address.
        weight_file: The HDF5 file.
        do_layer_norm: As in `Elmo`.
        dropout: As in `Elmo`.
        requires_grad: As in `Elmo`.
        projection_dim: The width wanted; None for the model's own.
        vocab_to_cache: As in `Elmo`.
        scalar_mix_parameters: As in `Elmo`.

    Raises:
        ValueError: A file cannot be read.
        FormatError: A file is damaged.
    """

    def __init__(
        self,
        options_file: str = DEFAULT_OPTIONS_FILE,
        weight_file: str = DEFAULT_WEIGHT_FILE,
        do_layer_norm: bool = False,
        dropout: float = 0.5,
        requires_grad: bool = False,
        projection_dim: int | None = None,
        vocab_to_cache: list[str] | None = None,
        scalar_mix_parameters: list[float] | None = None,
    ) -> None:
        super().__init__()
        self._elmo = Elmo(
            options_file,
            weight_file,
            1,
            requires_grad=requires_grad,
            do_layer_norm=do_layer_norm,
            dropout=dropout,
            vocab_to_cache=vocab_to_cache,
            scalar_mix_parameters=scalar_mix_parameters,
        )
        self._projection = nn.Linear(self._elmo.get_output_dim(), projection_dim) if projection_dim else None
        self.output_dim = projection_dim or self._elmo.get_output_dim()

    def get_output_dim(self) -> int:
        """Give the width of the vectors."""
        return self.output_dim

    def forward(self, elmo_tokens: Tensor, word_inputs: Tensor | None = None) -> Tensor:
        """Compute the mix.

        Args:
            elmo_tokens: Character ids (B, T, 50), or with more axes in front.
            word_inputs: Ids of the cached words.

        Returns:
            (…, T, output_dim).
        """
        mixed: Tensor = self._elmo(elmo_tokens, word_inputs)["elmo_representations"][0]
        return mixed if self._projection is None else self._projection(mixed)
