"""A task's own mix of the biLM's layers: equation (1) of the paper.

    ELMo_t = γ · Σ_j softmax(w)_j · h_{j,t}

With layer norm, each layer is first brought to mean 0 and variance 1 over the whole batch, as in AllenNLP.
Shapes: L layers, the word vectors counted, B sentences, T tokens, D width.
"""

import torch
from torch import Tensor, nn


class ScalarMix(nn.Module):
    """Learned layer weights w and scale γ.

    Args:
        layers: How many layers there are to mix, the word vectors counted.
        layer_norm: Whether each layer is normalized first, by one mean and one variance over all tokens of the batch.
        weights: Initial w; None for zeros, the plain mean.
        trainable: Whether w and γ learn.
        epsilon: Added to the variance inside the root: 1e-13 as in AllenNLP (bilm-tf has 1e-12).

    Raises:
        ValueError: `weights` of another number than `layers`.
    """

    def __init__(
        self,
        layers: int,
        layer_norm: bool = False,
        weights: list[float] | None = None,
        trainable: bool = True,
        epsilon: float = 1e-13,
    ) -> None:
        super().__init__()
        if weights is not None and len(weights) != layers:
            raise ValueError(f"weights must be {layers} numbers, one for each layer, not {len(weights)}")
        initial_L = torch.zeros(layers) if weights is None else torch.tensor(weights, dtype=torch.float32)
        self.weights = nn.Parameter(initial_L, requires_grad=trainable)
        self.gamma = nn.Parameter(torch.ones(()), requires_grad=trainable)
        self.layer_norm = layer_norm
        self.epsilon = epsilon

    def forward(self, layers_LBTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Mix.

        Args:
            layers_LBTD: The layers.
            mask_BT: True at tokens; layer norm counts just these.

        Returns:
            The mix x_BTD.
        """
        if self.layer_norm:
            layers_LBTD = torch.stack([self._normalize(layer_BTD, mask_BT) for layer_BTD in layers_LBTD])
        shares_L = torch.softmax(self.weights, 0)
        return self.gamma * torch.einsum("l,lbtd->btd", shares_L, layers_LBTD)

    def penalty(self, strength: float) -> Tensor:
        """Give the L2 penalty `strength` · Σ_j w_j², which pulls the layers' shares towards equal ones.

        The paper writes λ‖w‖² (section 3.3); bilm-tf halves nothing and sums the same squares.
        """
        return strength * self.weights.square().sum()

    def _normalize(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Bring the tokens of one layer to mean 0 and variance 1, over tokens and features together."""
        mask_BT1 = mask_BT.unsqueeze(-1).to(x_BTD.dtype)
        count = mask_BT1.sum() * x_BTD.shape[-1]
        mean = (x_BTD * mask_BT1).sum() / count
        variance = (((x_BTD - mean) * mask_BT1) ** 2).sum() / count
        return (x_BTD - mean) * torch.rsqrt(variance + self.epsilon)
