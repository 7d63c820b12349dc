"""A highway layer (Srivastava et al. 2015): a learned share of the input passes unchanged.

    g = σ(x W_c + b_c)
    y = g · relu(x W_t + b_t) + (1 − g) · x

Published ELMo files call W_c, b_c "carry" although g weighs the *transformed* part; the name is kept.
F features, any shape before them.
"""

import torch
from torch import Tensor, nn


class Highway(nn.Module):
    """One highway layer over F features.

    Args:
        features: F.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.transform = nn.Linear(features, features)
        self.carry = nn.Linear(features, features)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the reference's initial values: W from N(0, 1/F), b_t = 0, b_c = −2 (at first the input passes)."""
        for linear, bias in ((self.transform, 0.0), (self.carry, -2.0)):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
            nn.init.constant_(linear.bias, bias)

    def forward(self, x_NF: Tensor) -> Tensor:
        """Give y of the equations above, of x's shape."""
        # Where training makes its products in bfloat16, the sum stays in x's own precision.
        gate_NF = torch.sigmoid(self.carry(x_NF)).to(x_NF.dtype)
        return torch.lerp(x_NF, torch.relu(self.transform(x_NF)).to(x_NF.dtype), gate_NF)
