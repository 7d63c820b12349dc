"""A copy in large pages is the same numbers, wherever they lie."""

import mmap

import pytest
import torch

from elmokit.kernels.large_pages import WORTH_IT, in_large_pages


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
def test_a_large_tensor_is_copied(dtype: torch.dtype) -> None:
    x = torch.arange(2 * WORTH_IT, dtype=torch.int64).to(dtype).view(1024, -1)
    found = in_large_pages(x)
    assert torch.equal(found, x)
    assert (found.data_ptr() == x.data_ptr()) == (not hasattr(mmap, "MADV_HUGEPAGE"))
    found += 1
    assert not torch.equal(found, x)


def test_a_small_one_is_not() -> None:
    x = torch.ones(100)
    assert in_large_pages(x) is x


def test_a_system_without_large_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(WORTH_IT)
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", -1, raising=False)  # which no kernel knows
    assert in_large_pages(x) is x
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE")
    assert in_large_pages(x) is x
