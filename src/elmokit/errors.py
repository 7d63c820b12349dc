"""The errors that users meet. Everything else they can cause is a plain `ValueError`."""


class FormatError(ValueError):
    """A file is not what it should be: damaged, cut short, of the wrong shape or of an unknown kind.

    The message names the file, the dataset or line in it, what was expected and, where there is one, the fix.
    """


class MissingExtraError(ImportError):
    """A feature needs a library that the core does not install.

    Args:
        feature: What was asked for, as the user would say it.
        extra: The name of the extra that brings it.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional library: pip install 'elmokit[{extra}]'")


_OUT_OF_MEMORY = (
    "out of memory",  # CUDA
    "not enough memory",  # PyTorch's allocator
    "DefaultCPUAllocator",
    "bad_alloc",  # C++
    "could not create a primitive",  # oneDNN, whose operators are used only where they have been seen to work
    "could not execute a primitive",
    "Broken promise",  # the same, where one thread waits for what another could not make
    "annot allocate memory",  # the system
    "can't start new thread",  # Python: there is no room for its stack, mostly
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is used up, here or on a device: libraries have many words for it."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in _OUT_OF_MEMORY)
