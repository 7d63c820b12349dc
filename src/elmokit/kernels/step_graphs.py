"""CUDA graphs: work on tensors that never move is recorded once, and then started whole instead of kernel by kernel.

A step of the recurrence is four kernels of some microseconds each, about as long as Python takes to start them; a recorded
chunk of steps is started by one call, and Python is free for the next words. What is seen once only is never recorded:
the first time work is done plainly, which also warms up everything that may not happen while recording (compiling, loading
kernels, choosing algorithms); the second time it is recorded.
"""

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch

Work = Callable[[], object]
"""Reads and writes tensors that never move, and takes no memory."""

Record = Callable[[Work], Work]
"""Turns work into its replay, without doing it."""

_RECORDING = threading.Lock()
"""PyTorch's random numbers take notice of a recording, and there is one state of them: one recording at a time."""


class StepGraphs:
    """Recordings of work on the same tensors, the latest used ones. Not for several threads at once.

    Args:
        record: How work is recorded.
        most: How many are kept.
    """

    def __init__(self, record: Record, most: int = 128) -> None:
        self._record: Record | None = record
        self._most = most
        self._replays: OrderedDict[Hashable, Work | None] = OrderedDict()

    def __call__(self, key: Hashable, work: Work) -> None:
        """Do work, from its recording if there is one.

        Args:
            key: The same key means: the same work, on the same tensors.
            work: What is to be done.
        """
        if key not in self._replays:
            work()
            self._replays[key] = None  # only once it has been done: a failure is no warm-up
        else:
            replay = self._replays[key] or self._recorded(work)
            self._replays[key] = replay
            replay()
        self._replays.move_to_end(key)
        while len(self._replays) > self._most:
            self._replays.popitem(last=False)

    def _recorded(self, work: Work) -> Work:
        """Give the replay of work; the work itself where this device cannot record it."""
        if self._record is None:
            return work
        try:
            return self._record(work)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            warnings.warn(f"CUDA graphs do not work here, going on without: {error}", stacklevel=2)
            self._record = None
            return work

    def recorded(self) -> list[Hashable]:
        """List the keys of what has been recorded, the latest used last."""
        return [key for key, replay in self._replays.items() if replay is not None]


class CudaRecorder:
    """Records work on the current stream, which must not be the default one.

    Unlike `torch.cuda.graph` it neither waits for the device nor hands back cached memory before each recording: the work
    takes no memory (but for the plain gate step, whose memory the recordings share, since they never run at once).
    A recorder is for as long as its recordings: PyTorch takes none into a pool whose earlier ones are all gone.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Work) -> Work:
        """Record work and give its replay."""
        # This thread's, which takes memory when it is made.
        torch.cuda.current_blas_handle()  # type: ignore[no-untyped-call]  # PyTorch's own lack of types
        graph = torch.cuda.CUDAGraph()
        with _RECORDING:
            # What other threads do with the device meanwhile is none of this recording's business: "thread_local".
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                work()
            finally:
                graph.capture_end()
        return graph.replay
