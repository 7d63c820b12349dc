"""The line at the end: what was done, how fast."""

import threading

import pytest

from elmokit.embedding.progress import Progress, Step


def test_steps_add_up_from_any_thread() -> None:
    progress = Progress(None, shown=False)

    def work() -> None:
        for _ in range(500):
            progress.advance(Step(1, 10, 4, 3, 0.5))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    progress.advance(Step(0, 0, 0, 0, 0.25))
    assert progress.total == Step(2000, 20000, 8000, 6000, 0.5)
    assert "75% of the distinct words of each batch were remembered, preparing the weights took 0.50 s" in progress.summary()


def test_only_what_went_well_is_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with Progress(5, shown=True) as progress:
            progress.advance(Step(1, 10, 4, 3, 0.5))
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert "elmo:" not in capsys.readouterr().err
    with Progress(5, shown=False) as progress:
        progress.advance(Step(1, 10, 4, 3, 0.5))
    assert capsys.readouterr() == ("", "")
