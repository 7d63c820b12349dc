"""How long a model takes from the call to the first vector of a short sentence.

    python benchmarks/load_speed.py OPTIONS WEIGHTS [--repeats 5] [--threads 1]

The model in the published layout is loaded as it stands, and as a model folder that is written for the purpose. Each run is a
process of its own in which everything is imported first; the files are in the cache of the system, since an earlier run has
read them. The parts: reading and checking the SHA-256 of all files of the folder (alone), loading, the first vector.

AllenNLP takes 3 to 12 s to load the original model of 93.6 million parameters (20 s and more under its own PyTorch 1.12).
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SENTENCE = ["I", "sat", "by", "the", "river", "bank", "."]


def measure(path: str, threads: int) -> None:
    """Print the seconds until the model is loaded and until its first vector, as JSON."""
    import torch

    import elmokit

    elmokit.Elmo.from_config(elmokit.ElmoConfig.from_dict(TINY)).encode_tokens([SENTENCE])  # all that is imported late
    torch.set_num_threads(threads)
    began = time.perf_counter()
    elmo = elmokit.Elmo.from_pretrained(path)
    loaded = time.perf_counter()
    elmo.encode_tokens([SENTENCE])
    print(json.dumps([loaded - began, time.perf_counter() - began]))


TINY = {
    "model_type": "elmo",
    "format_version": 1,
    "bilm": {"char_cnn": {"filters": [[1, 4]], "highways": 1}, "cell_dim": 4, "projection_dim": 4},
    "text": {},
}


def hash_seconds(folder: Path) -> float:
    """How long the checksums of a folder's files take alone."""
    began = time.perf_counter()
    for path in folder.iterdir():
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")
    return time.perf_counter() - began


def runs(path: Path, threads: int, repeats: int) -> list[list[float]]:
    """Measure in new processes; one more at the beginning fills the system's cache."""
    command = [sys.executable, __file__, "--one", str(path), "--threads", str(threads)]
    return [json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(repeats + 1)][
        1:
    ]


def report(name: str, seconds: list[list[float]]) -> None:
    """Print the median and the range."""
    loaded, first = zip(*seconds, strict=True)
    print(
        f"{name:24}  {statistics.median(loaded):7.2f}  {statistics.median(first):12.2f}  ({min(first):.2f} to {max(first):.2f})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds from the call to the first vector.")
    parser.add_argument("files", type=Path, nargs="*", help="options.json and the HDF5 file of a published model")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.one:
        measure(options.one, options.threads)
        return
    if len(options.files) != 2:
        parser.error("give two files, options.json and the HDF5 file of weights")
    from elmokit.checkpoints.folder import save_folder
    from elmokit.checkpoints.hdf5 import load_hdf5

    with tempfile.TemporaryDirectory(dir=options.files[1].parent) as scratch:
        folder = Path(scratch) / "model"
        checkpoint = load_hdf5(*options.files)
        save_folder(checkpoint, folder)
        print(f"{checkpoint.parameters / 1e6:.1f} M parameters, {options.threads} thread(s), {options.repeats} processes each")
        print(f"{'seconds':24}  {'loaded':>7}  {'first vector':>12}")
        report("model folder", runs(folder, options.threads, options.repeats))
        report("options.json and HDF5", runs(options.files[1], options.threads, options.repeats))
        print(f"the folder's checksums alone: {hash_seconds(folder):.2f} s")


if __name__ == "__main__":
    main()
