"""The READMEs keep their word: their Python runs, their commands run, and both languages show the same code."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from elmokit.cli.main import main

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh-CN.md")


class Block(NamedTuple):
    """A fenced block of code."""

    language: str
    """`python` and `sh` are run; `console`, with its prompts, is only read; what it says of `cat` must be true."""
    code: str


def blocks(readme: str) -> list[Block]:
    text = (ROOT / readme).read_text(encoding="utf-8")
    return [Block(*found) for found in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each command of a block, without comments and prompts."""
    for line in block.code.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words:
            yield words


def without_comments(block: Block) -> Block:
    """Comments are in the reader's language."""
    return Block(block.language, re.sub(r" *#.*", "", block.code))


def test_both_languages_show_the_same_code() -> None:
    english, chinese = ([without_comments(block) for block in blocks(readme)] for readme in READMES)
    assert english == chinese


def test_both_languages_have_the_same_sections_and_links() -> None:
    english, chinese = ((ROOT / readme).read_text(encoding="utf-8") for readme in READMES)
    assert re.findall(r"^#+ ", english, re.MULTILINE) == re.findall(r"^#+ ", chinese, re.MULTILINE)
    targets = [sorted(set(re.findall(r"\]\(([^)]+)\)", text)) - set(READMES)) for text in (english, chinese)]
    assert targets[0] == targets[1]
    for target in targets[0]:
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_every_block_has_a_known_language() -> None:
    assert {block.language for block in blocks("README.md")} == {"python", "sh", "console"}


def shorten(article: str) -> str:
    """Its first sentence."""
    return article.split("\n")[0]


@pytest.mark.filterwarnings("default:.*published layout cannot hold")
def test_the_code_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder with a clone's `configs/` and the beginning of each example text; one namespace for all Python."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "examples" / "data").mkdir(parents=True)
    for path in (ROOT / "examples" / "data").glob("*.txt"):
        articles = path.read_text(encoding="utf-8").split("\n\n")
        (tmp_path / "examples" / "data" / path.name).write_text("\n\n".join(map(shorten, articles)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks("README.md"):
        if block.language == "python":
            exec(compile(block.code, "README.md", "exec"), names)
        elif block.language == "sh":
            for program, *words in commands(block):
                assert program == "elmo"
                assert main(words) == 0, words
        elif block.code.startswith("$ cat "):
            command, _, content = block.code.partition("\n")
            assert Path(command.split()[2]).read_text(encoding="utf-8") == content
