"""What is about the program and the machine: start-up, several processes, a GPU."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.targets.fresh import call, run_script
from benchmarks.targets.lines import Line
from benchmarks.targets.setting import Setting
from benchmarks.targets.speed import spread

GPU = 500_000
WORKERS = 1.8
IMPORT_S, HELP_S = 0.3, 1.0


def start_lines(setting: Setting) -> Iterator[Line]:
    """Give what importing takes beyond torch, and `elmo --help` from start to end."""
    imports = [_import_seconds() for _ in range(setting.repeats)]
    torch_s, own_s = zip(*imports, strict=True)
    how = f"{spread(own_s)}; importing torch {min(torch_s):.2f} s"
    yield Line("import elmokit, after torch", "s", IMPORT_S, min(own_s), at_most=True, how=how.lstrip("; "))
    helps = [_help_seconds() for _ in range(setting.repeats)]
    yield Line("elmo --help", "s", HELP_S, min(helps), at_most=True, how=spread(helps))


IMPORTS = """
import time
began = time.perf_counter()
import torch
torch_s = time.perf_counter() - began
from elmokit import Elmo
print(torch_s, time.perf_counter() - began - torch_s)
"""


def _import_seconds() -> tuple[float, float]:
    """Import torch, then elmokit with all that its main class needs, in a process that has done nothing before."""
    done = subprocess.run([sys.executable, "-c", IMPORTS], check=True, stdout=subprocess.PIPE, text=True)
    torch_s, own_s = map(float, done.stdout.split())
    return torch_s, own_s


def _help_seconds() -> float:
    """Run `elmo --help`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "elmokit", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def workers_lines(setting: Setting) -> Iterator[Line]:
    """Give the speed of two processes, a core each, beside that of one on one core, as `embed_workers.py` finds it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "workers.json"
        options = ["--model", setting.trained, "--tokens", str(setting.embedded), "--repeats", str(setting.repeats)]
        run_script("embed_workers.py", *options, "--json", str(path))
        rows: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    for name, target in (("workers", "one file"), ("parts", "a folder of parts")):
        how = f"{rows[name]['seconds']:.1f} s beside {rows['one']['seconds']:.1f} s, start to end; {setting.embedded:,} tokens"
        yield Line(f"elmo embed --workers 2, into {target}", "× one process on one core", WORKERS, rows[name]["speedup"], how=how)


def gpu_lines(setting: Setting) -> Iterator[Line]:
    """Give the speed on a GPU, if there is one."""
    what, unit = "GPU, original, bfloat16", "tokens/s"
    files = [str(path.resolve()) for path in setting.gpu_text]
    found = call("machine", "gpu_speed", 1, files=files, tokens=setting.gpu_tokens, repeats=setting.repeats)
    if found is None:
        yield Line(what, unit, GPU, None, how="no GPU here")
    else:
        how = f"{found['name']}; {found['tokens']:,} tokens of {', '.join(map(str, setting.gpu_text)) or 'made-up words'}"
        yield Line(what, unit, GPU, found["tokens_per_s"], how=how)


def gpu_speed(
    files: list[str], tokens: int, repeats: int, device: str = "cuda", tiny: bool = False, processes: int = 8
) -> dict[str, Any] | None:
    """Run as `benchmarks/gpu_speed.py` does, from strings to mean vectors on the device; None without a GPU."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from functools import partial

    import torch
    from benchmarks.gpu_speed import ORIGINAL, PIECE, TINY, encode, pieces_of, texts_of, tokenized

    from elmokit import Elmo

    if device == "cuda" and not torch.cuda.is_available():
        return None
    texts = texts_of([Path(name) for name in files], tokens)
    with tempfile.TemporaryDirectory() as folder:
        Elmo.from_config(TINY if tiny else ORIGINAL).save_pretrained(Path(folder) / "model")
        elmo = Elmo.from_pretrained(Path(folder) / "model", device=device, precision="bfloat16")
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(partial(tokenized, elmo.config.text.tokenizer), [["ready"]] * processes))
        runs = [encode(elmo, pool, pieces_of(texts, PIECE), 65_536) for _ in range(repeats + 1)]
    seconds, read = min(runs)
    name = torch.cuda.get_device_name() if device == "cuda" else device
    return {"name": name, "tokens": read, "tokens_per_s": read / seconds}
