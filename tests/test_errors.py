"""What counts as want of memory."""

import pytest

from elmokit.errors import is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."
        ),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("could not create a primitive"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("can't start new thread"),
        OSError("unable to mmap 5160184 bytes from file <model.safetensors>: Cannot allocate memory (12)"),
    ],
)
def test_libraries_have_many_words_for_it(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("batch_tokens must be 1")]
)
def test_other_errors_are_something_else(error: Exception) -> None:
    assert not is_out_of_memory(error)
