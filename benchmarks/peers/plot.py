"""The figures that `run.py` wrote, side by side: tables in Markdown, and a plot.

    python benchmarks/peers/plot.py RESULT.json … [--plot FILE.png|.svg|.pdf]

Words a second, with the slowest of the repeats in brackets, then elmokit as a multiple of each peer on the same number of
threads. Of the same measurement in two files the later file's counts.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elmokit.errors import MissingExtraError
from elmokit.report.bars import Bar, Panel, draw_bars

Row = dict[str, Any]
MODES = {"batch": "in batches", "single": "one sentence at a time"}


def merge(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Join reports on the same text.

    Raises:
        ValueError: They are not on the same text, or there is no figure in them.
    """
    texts = {report["text"]["sha256"] for report in reports}
    if len(texts) > 1:
        names = ", ".join(f"{report['text']['name']} ({report['text']['sentences']} sentences)" for report in reports)
        raise ValueError(f"the files are on different texts: {names}")
    rows = {(title(row), row["threads"], row["mode"]): row for report in reports for row in report["rows"]}
    if not rows:
        raise ValueError("there is no figure in these files")
    differences = {(title(row), row["to"]): row for report in reports for row in report["differences"]}
    measured = {name for name, _, _ in rows}
    left_out = {title(row): row for report in reports for row in report["left_out"] if title(row) not in measured}
    return {
        "machines": sorted({f"{report['machine']['processor']}, {report['machine']['cores']} cores" for report in reports}),
        "text": reports[0]["text"],
        "rows": list(rows.values()),
        "differences": list(differences.values()),
        "left_out": list(left_out.values()),
    }


def title(row: Row) -> str:
    """Name a peer, its size and, where it has a choice, its precision."""
    names = [row["peer"], *([row["model"]] if row["model"] != row["peer"] else [])]
    return " ".join([*names, row["precision"]] if row["peer"] == "elmokit" else names)


def table(merged: dict[str, Any]) -> str:
    """Write the tables."""
    text = merged["text"]
    lines = [
        f"{text['name']}: {text['sentences']:,} sentences, {text['tokens']:,} words; {'; '.join(merged['machines'])}.",
        "BERT's input is 1.25 word pieces a word, sorted by length; its vectors are random, as only speed is compared.",
        "",
        "| words/s | threads | in batches | one sentence at a time | load, s | first word, s | versions |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, threads in dict.fromkeys((title(row), row["threads"]) for row in merged["rows"]):
        found = {row["mode"]: row for row in merged["rows"] if (title(row), row["threads"]) == (name, threads)}
        one = next(iter(found.values()))
        versions = ", ".join(f"{library} {version}" for library, version in one["versions"].items())
        seconds = f"{one['stages']['load_s']:.1f} | {one['stages']['first_s']:.1f}"  # the first call may pack weights
        cells = [speed(found[mode]) if mode in found else "–" for mode in MODES]
        lines.append(f"| {name} | {threads} | {' | '.join(cells)} | {seconds} | {versions} |")
    lines += multiples(merged["rows"])
    for row in merged["differences"]:
        lines += ["", f"{title(row)} and {row['to']}, {row['sentences']} sentences: at most {row['max_abs']:.1e} apart, "]
        lines[-1] += f"cosine {row['mean_cosine']:.6f}."
    lines += [f"\n{title(row)} is left out: {row['why']}" for row in merged["left_out"]]
    return "\n".join(lines)


def speed(row: Row) -> str:
    """The best figure, and the slowest if there are several."""
    slowest = f" ({row['slowest_tokens_per_s']:,.0f})" if len(row["all_seconds"]) > 1 else ""
    return f"{row['tokens_per_s']:,.0f}{slowest}"


def multiples(rows: list[Row]) -> list[str]:
    """How many times as fast as each peer elmokit is."""
    peers = list(dict.fromkeys(title(row) for row in rows if row["peer"] != "elmokit"))
    lines = ["", f"| times as fast as | threads | | {' | '.join(peers)} |", "|---|---|---|" + "---|" * len(peers)]
    for row in rows:
        if row["peer"] == "elmokit":
            like = [other for other in rows if (other["threads"], other["mode"]) == (row["threads"], row["mode"])]
            of = {title(other): row["tokens_per_s"] / other["tokens_per_s"] for other in like}
            cells = " | ".join(f"{of[peer]:.2f}" if peer in of else "–" for peer in peers)
            lines.append(f"| {title(row)} | {row['threads']} | {MODES[row['mode']]} | {cells} |")
    return lines if peers and len(lines) > 3 else []


def draw(merged: dict[str, Any], path: Path) -> None:
    """Draw a bar for each figure, a panel for each way of calling and number of threads.

    Raises:
        ValueError: The suffix stands for no format of drawings.
        MissingExtraError: matplotlib is not installed.
    """
    panels: dict[str, list[Bar]] = {}
    for row in sorted(merged["rows"], key=lambda row: (row["mode"], int(row["threads"]))):
        of = f"words/s, {MODES[row['mode']]}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}"
        parts = {"elmokit" if row["peer"] == "elmokit" else "others": float(row["tokens_per_s"])}
        panels.setdefault(of, []).append(Bar(title(row), parts, text=f"{row['tokens_per_s']:,.0f}"))
    draw_bars(path, f"{merged['text']['name']}, {'; '.join(merged['machines'])}", [Panel(*panel) for panel in panels.items()])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", metavar="RESULT.json")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        merged = merge([json.loads(path.read_text(encoding="utf-8")) for path in options.results])
        print(table(merged))
        if options.plot:
            draw(merged, options.plot)
    except (ValueError, MissingExtraError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
