"""A run's numbers, for programs and for people."""

import json
from pathlib import Path

import pytest

from elmokit.training.budget import Progress
from elmokit.training.log import JsonLog, Meter, progress_line


def test_records_are_lines_of_json_and_older_ones_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.jsonl"
    JsonLog(path).write(steps=1, name="naïve 银行")
    JsonLog(path).write(steps=2, final={"mean": 1.5})
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [record.pop("time") > 1.7e9 for record in records] == [True, True]
    assert records == [{"steps": 1, "name": "naïve 银行"}, {"steps": 2, "final": {"mean": 1.5}}]


def test_means_are_over_the_steps_since_the_last_look() -> None:
    meter = Meter(Progress(steps=10, tokens=100, seconds=50))
    meter.add({"loss": 4.0, "gradient_norm": 1.0})
    meter.add({"loss": 2.0, "gradient_norm": 3.0})
    means = meter.means(Progress(steps=12, tokens=160, passes=0.123456, seconds=52))
    where = {"steps": 12, "tokens": 160, "passes": 0.1235, "seconds": 52}
    assert means == {**where, "loss": 3.0, "gradient_norm": 2.0, "tokens_per_second": 30.0}
    meter.add({"loss": 1.0})
    assert meter.means(Progress(steps=13, tokens=170, seconds=53))["loss"] == 1.0
    assert meter.count == 0


@pytest.mark.parametrize(
    ("used", "seconds", "parts"),
    [
        (0.25, 3600.0, ["25.0%", "step 1,234", "loss 2.000", "perplexity 7.4", "5,678 tokens/s", "3:00 h left"]),
        (1.2, 3600.0, ["100.0%", "0:00 h left"]),
        (0.0, 0.0, ["0.0%", "0:00 h left"]),
    ],
)
def test_the_line_for_people(used: float, seconds: float, parts: list[str]) -> None:
    line = progress_line({"steps": 1234, "loss": 2.0, "tokens_per_second": 5678.3}, used, seconds)
    assert all(part in line for part in parts), line
    assert "\n" not in line


def test_a_huge_loss_is_no_error() -> None:
    assert "loss 5000.000" in progress_line({"steps": 1, "loss": 5000.0, "tokens_per_second": 1}, 0.5, 1)
