"""The benchmark of the planner: a forecast, and the run that it is of."""

from pathlib import Path

import pytest
from benchmarks.planner import Run, check, table


@pytest.mark.slow
def test_a_run_of_seconds(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(f"a b c w{number % 300} d\n" for number in range(2000)), encoding="utf-8")
    result = check(Run("tiny", "bfloat16", timed=False), tmp_path, str(text), str(text), 0.05)
    assert result.said.training_hours == pytest.approx(0.05 / 60, rel=0.01)
    assert result.hours > 0
    assert 0.5 < result.ratios[1] < 2
    assert table([result]).splitlines()[2].startswith(f"| tiny, bfloat16, {result.said.tokens:,.0f} words | ")
