"""Sentence marks round the rows of a batch, put there and taken away.

B sentences, T words of the longest, D numbers of a word (none of them, if a word is a single id).
"""

from typing import Any

import torch
from torch import Tensor


def add_sentence_boundary_token_ids(
    tensor: Tensor, mask: Tensor, sentence_begin_token: Any, sentence_end_token: Any
) -> tuple[Tensor, Tensor]:
    """Put a mark before and after each row's words.

    Args:
        tensor: (B, T) or (B, T, D).
        mask: (B, T), True at words, which stand at the beginning of each row.
        sentence_begin_token: What stands before a sentence: a number, or D numbers.
        sentence_end_token: What stands after it.

    Returns:
        The longer tensor, (B, T + 2) or (B, T + 2, D), and its mask: True where the tensor is not zero
        (in three dimensions: where a number of it is above zero).

    Raises:
        ValueError: `tensor` has neither two nor three dimensions.
    """
    if tensor.dim() not in (2, 3):
        raise ValueError(f"tensor must have 2 or 3 dimensions, not {tensor.dim()}")
    rows, words = tensor.shape[:2]
    longer = tensor.new_zeros(rows, words + 2, *tensor.shape[2:])
    longer[:, 1:-1] = tensor
    longer[:, 0] = torch.as_tensor(sentence_begin_token).to(longer)
    longer[torch.arange(rows), mask.sum(1) + 1] = torch.as_tensor(sentence_end_token).to(longer)
    return longer, (longer > 0).any(-1) if tensor.dim() == 3 else longer != 0


def remove_sentence_boundaries(tensor: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Take the first and the last place of each row away.

    Args:
        tensor: (B, T + 2, D).
        mask: (B, T + 2), True at words and marks.

    Returns:
        The tensor (B, T, D), zeros past each row's words, and the mask (B, T).
    """
    words_B1 = mask.sum(1, keepdim=True) - 2
    mask_BT = torch.arange(tensor.shape[1] - 2, device=tensor.device) < words_B1
    return tensor[:, 1:-1] * mask_BT.unsqueeze(-1), mask_BT
