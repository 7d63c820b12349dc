"""Signals and HDF5; what stands in the files is in test_embed.py."""

import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from elmokit.embedding.h5 import interrupts_held


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send itself an interrupt")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_no_interrupt_is_lost_in_h5py(number: signal.Signals, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(partial(signal.signal, number, signal.signal(number, signal.default_int_handler)))
    done: list[str] = []

    def write() -> None:
        with interrupts_held():
            signal.raise_signal(number)
            done.append("the block")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == ["the block"]
    with pytest.raises(KeyboardInterrupt):  # and afterwards all is as before
        signal.raise_signal(number)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: interrupts_held().__enter__()).result() is None
