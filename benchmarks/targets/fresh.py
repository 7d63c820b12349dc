"""Call functions in fresh processes: `python -m benchmarks.targets.fresh MODULE FUNCTION`, arguments and answer as JSON."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent


def call(module: str, function: str, threads: int, **arguments: Any) -> Any:
    """Call a function of a module under `benchmarks.targets`, with so many threads of PyTorch.

    Raises:
        SystemExit: It failed; it has said why.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.targets.fresh", f"benchmarks.targets.{module}", function],
        input=json.dumps(arguments),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    if done.returncode:
        raise SystemExit(f"{function} of benchmarks/targets/{module}.py failed")
    return json.loads(done.stdout.splitlines()[-1])


def run_script(name: str, *arguments: str) -> str:
    """Run another script of `benchmarks/`; give what it prints.

    Raises:
        SystemExit: It failed; it has said why.
    """
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / name), *arguments], stdout=subprocess.PIPE, encoding="utf-8", cwd=ROOT
    )
    if done.returncode:
        raise SystemExit(f"benchmarks/{name} failed")
    return done.stdout


if __name__ == "__main__":
    module, function = sys.argv[1:]
    print(json.dumps(getattr(importlib.import_module(module), function)(**json.load(sys.stdin))))
