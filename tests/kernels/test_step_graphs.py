"""Work is done once whatever way it is done, and recorded when it comes up again."""

import pytest
import torch

from elmokit.kernels.step_graphs import CudaRecorder, StepGraphs, Work


class Recorder:
    """Records as CUDA does: recording does nothing, and a replay does what was recorded."""

    def __init__(self) -> None:
        self.recorded = 0
        self.replayed = 0

    def __call__(self, work: Work) -> Work:
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            work()

        return replay


def test_done_each_time_and_recorded_the_second() -> None:
    recorder, done = Recorder(), []
    graphs = StepGraphs(recorder)
    counts = []
    for turn in range(4):
        graphs("a", lambda: done.append("a"))
        counts.append((len(done), recorder.recorded, recorder.replayed))
        assert graphs.recorded() == (["a"] if turn else [])
    assert counts == [(1, 0, 0), (2, 1, 1), (3, 1, 2), (4, 1, 3)]


def test_the_latest_used_are_kept() -> None:
    recorder = Recorder()
    graphs = StepGraphs(recorder, most=2)
    for key in "aabbaccc":  # b is the one that was used longest ago when c comes
        graphs(key, lambda: None)
    assert graphs.recorded() == ["a", "c"]
    assert recorder.recorded == 3


def test_where_recording_does_not_work_there_is_a_warning_and_the_work_is_done() -> None:
    tried, done = [], []

    def record(work: Work) -> Work:
        tried.append(1)
        raise RuntimeError("operation not permitted when stream is capturing")

    graphs = StepGraphs(record)
    graphs("a", lambda: done.append("a"))
    graphs("b", lambda: done.append("b"))
    with pytest.warns(UserWarning, match="CUDA graphs do not work here, going on without: operation not permitted"):
        graphs("a", lambda: done.append("a"))
    graphs("a", lambda: done.append("a"))
    graphs("b", lambda: done.append("b"))
    assert done == list("abaab")
    assert tried == [1]


def test_too_little_memory_is_told() -> None:
    """The caller makes its batches smaller then."""

    def record(work: Work) -> Work:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    graphs = StepGraphs(record)
    graphs("a", lambda: None)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        graphs("a", lambda: None)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_graph_is_replayed_on_what_the_tensors_hold_then() -> None:
    graphs = StepGraphs(CudaRecorder())
    x = torch.ones(4, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]  # PyTorch's own lack of types
        for _ in range(3):
            graphs("double", lambda: x.mul_(2))
        x.fill_(5)
        graphs("double", lambda: x.mul_(2))
    torch.cuda.synchronize()
    assert graphs.recorded() == ["double"]
    assert x.tolist() == [10.0] * 4


def test_work_that_failed_is_not_recorded_before_it_has_been_done() -> None:
    recorder, room = Recorder(), [False]

    def work() -> None:
        if not room[0]:
            raise torch.OutOfMemoryError("none left")

    graphs = StepGraphs(recorder)
    with pytest.raises(torch.OutOfMemoryError):
        graphs("a", work)
    room[0] = True
    graphs("a", work)
    assert recorder.recorded == 0
    graphs("a", work)
    assert recorder.recorded == 1
