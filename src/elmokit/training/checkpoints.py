"""The folder of a run's checkpoints: each is whole or is passed over; the last ones are kept, and the best one.

    step-0000000120.safetensors     the state (`elmokit.training.checkpoint`)
    step-0000000120.json            its size and checksum, written when the state is safely on the disk
    best.json                       the checkpoint with the lowest held-out loss so far

A process may be killed at any moment, between any two writes: a state without its note, or one that is not what its note
says, does not count, and the one before is taken.
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from elmokit.atomic import atomic_path
from elmokit.checksum import checksum
from elmokit.errors import FormatError
from elmokit.training.checkpoint import load_state, save_state

_NOTE = re.compile(r"step-(\d{10})\.json")
_DAMAGE = (OSError, ValueError, KeyError, TypeError)
"""What reading a damaged note or state raises."""


class State(NamedTuple):
    """What a checkpoint holds."""

    steps: int
    """After how many updates it was written."""
    path: Path
    """Its file."""
    tensors: dict[str, Tensor]
    numbers: dict[str, Any]


class Checkpoints:
    """Writes, finds and removes the checkpoints of one run.

    Args:
        folder: Where they are.
        keep: How many of the last ones stay, the best one apart.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        assert keep > 0
        self.folder = folder
        self.keep = keep
        self.passed_over: list[str] = []
        """Of each file that `newest` or `best` could not use, when it was last called: what is wrong with it."""

    def save(self, steps: int, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Write a checkpoint, then remove what is older than the last `keep`.

        Raises:
            OSError: It could not be written, a full disk for one; the earlier checkpoints are as they were.
        """
        path = self._state(steps)
        save_state(path, tensors, numbers)
        note = {"size": path.stat().st_size, "crc32": checksum(path)}
        _write_json(self._note(steps), note)
        self._remove_old()

    def newest(self) -> State | None:
        """Read the newest whole checkpoint; None if there is none. `passed_over` tells of newer ones that are not whole."""
        self.passed_over = []
        for steps in sorted(self._noted(), reverse=True):
            state = self._read(steps)
            if state is not None:
                return state
        return None

    def best(self) -> State | None:
        """Read the checkpoint with the lowest held-out loss; None if none was judged or it is not whole."""
        self.passed_over = []
        noted = self._best()
        return None if noted is None else self._read(noted[0])

    def judge(self, steps: int, loss: float) -> None:
        """Tell the held-out loss of the checkpoint after `steps`, if it was written: the best one stays."""
        best = self._best()
        if self._note(steps).exists() and (best is None or loss < best[1]):
            _write_json(self.folder / "best.json", {"steps": steps, "loss": loss})
            self._remove_old()

    def way_back(self, steps: int) -> str:
        """Say how a run goes on whose loss is no number any more after so many updates.

        A checkpoint of this very moment does not help: its first loss is this one, whatever the rate.
        """
        whole = [noted for noted in sorted(self._noted()) if noted <= steps and self._whole(noted)]
        here = whole[-1:] == [steps]
        if len(whole) == here:
            return "begin anew with a lower --learning-rate and --resume never"
        first = f"delete {self._note(steps)}, whose weights are spoilt; then " if here else ""
        return (
            f"{first}the same command with a lower --learning-rate goes on from the last whole checkpoint, "
            f"step {whole[-2 if here else -1]:,}"
        )

    def clear(self) -> None:
        """Remove them all."""
        for path in self._files():
            path.unlink(missing_ok=True)

    def _read(self, steps: int) -> State | None:
        """A checkpoint if it is whole."""
        path = self._whole(steps)
        try:
            return None if path is None else State(steps, path, *load_state(path))
        except _DAMAGE as error:
            self.passed_over.append(str(error))
            return None

    def _whole(self, steps: int) -> Path | None:
        """The file of a checkpoint if it is what its note says."""
        path = self._state(steps)
        try:
            note = json.loads(self._note(steps).read_text(encoding="utf-8"))
            if path.stat().st_size != note["size"] or checksum(path) != note["crc32"]:
                raise FormatError(f"{path}: is not what was written")
        except _DAMAGE as error:
            self.passed_over.append(str(error))
            return None
        return path

    def _best(self) -> tuple[int, float] | None:
        """Steps and loss of the best one so far."""
        try:
            noted = json.loads((self.folder / "best.json").read_text(encoding="utf-8"))
            return int(noted["steps"]), float(noted["loss"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _remove_old(self) -> None:
        """Remove what nothing needs any more, and what a killed process left behind."""
        stay = set(sorted(self._noted())[-self.keep :])
        if (best := self._best()) is not None:
            stay.add(best[0])
        names = {path.name for steps in stay for path in (self._state(steps), self._note(steps))} | {"best.json"}
        for path in self._files():
            if path.name not in names:
                path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """Everything in the folder."""
        return [path for path in self.folder.iterdir() if path.is_file()] if self.folder.exists() else []

    def _noted(self) -> list[int]:
        """Steps of all checkpoints that have a note."""
        return [int(match[1]) for path in self._files() if (match := _NOTE.fullmatch(path.name))]

    def _state(self, steps: int) -> Path:
        return self.folder / f"step-{steps:010}.safetensors"

    def _note(self, steps: int) -> Path:
        return self.folder / f"step-{steps:010}.json"


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
