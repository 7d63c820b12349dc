"""The migration guide keeps its word: its new lines run, on small models in the places of the published ones.

Every page says the same in both languages.
"""

import re
import shutil
import zipfile
from pathlib import Path

import pytest

from elmokit import cli
from elmokit.pretraining.recipes import RECIPES
from elmokit.training.schedule import WARMUP_STEPS

ROOT = Path(__file__).parent.parent
GUIDES = ("docs/migrating.md", "docs/migrating.zh-CN.md")
PRETRAINING = ("docs/pretraining.md", "docs/pretraining.zh-CN.md")
PERFORMANCE = ("docs/performance.md", "docs/performance.zh-CN.md")
MODELS = ROOT / "tests/golden/data/models"
SMALL = "allennlp/models/elmo/2x1024_128_2048cnn_1xhighway/elmo_2x1024_128_2048cnn_1xhighway"


def blocks(guide: str, language: str) -> list[str]:
    """Fenced code: `python` is new and runs, `py` is old."""
    text = (ROOT / guide).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def without_comments(code: str) -> str:
    """Comments are in the reader's language."""
    return re.sub(r" *#.*", "", code)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds small models under the addresses of published ones."""
    folder = tmp_path / "mirror"
    small = folder / "s3-us-west-2.amazonaws.com" / SMALL
    small.parent.mkdir(parents=True)
    shutil.copy(MODELS / "random_tiny/options.json", f"{small}_options.json")
    shutil.copy(MODELS / "random_tiny/weights.hdf5", f"{small}_weights.hdf5")
    archive = folder / "vectors.nlpl.eu/repository/11/179.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((MODELS / "manylangs_word_char").iterdir()):
            file.write(path, path.name)
    monkeypatch.setenv("ELMOKIT_MIRROR", str(folder))
    monkeypatch.setenv("ELMOKIT_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.mark.usefixtures("mirror")
@pytest.mark.filterwarnings("ignore:.*traditional characters:UserWarning")
def test_new_lines_run_from_top_to_bottom() -> None:
    names: dict[str, object] = {}
    for code in blocks(GUIDES[0], "python"):
        exec(compile(code, GUIDES[0], "exec"), names)


def test_both_languages_show_the_same_code() -> None:
    for language in ("py", "python"):
        english, chinese = ([without_comments(code) for code in blocks(guide, language)] for guide in GUIDES)
        assert english == chinese
        assert english


@pytest.mark.parametrize("pages", [GUIDES, PERFORMANCE, PRETRAINING])
def test_both_languages_have_the_same_sections_and_tables(pages: tuple[str, str]) -> None:
    shapes = []
    for page in pages:
        text = (ROOT / page).read_text(encoding="utf-8")
        shapes.append(re.findall(r"^(#+ |\|)", text, re.MULTILINE))
    assert shapes[0] == shapes[1]


def test_both_languages_show_the_same_commands_of_what_there_is() -> None:
    english, chinese = ([without_comments(code) for code in blocks(page, "console")] for page in PERFORMANCE)
    assert english == chinese
    named = re.findall(r"^\$ (?:python (?:-m )?(\S+)|elmo (\S+))", "".join(english), re.MULTILINE)
    assert {command for _, command in named if command} <= set(cli.__all__)
    for script, _ in named:
        assert (ROOT / script).is_file() or (ROOT / script.replace(".", "/") / "__main__.py").is_file() or not script, script


@pytest.mark.parametrize("page", PRETRAINING)
def test_the_table_of_recipes_is_that_of_the_code(page: str) -> None:
    lines = re.findall(r"^\| (.+) \|$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    cells = [row for row in (line.split(" | ") for line in lines) if len(row) == 3]
    numbers = {row[0].split("`")[1]: row[1:] for row in cells if row[0].startswith("`--")}
    for column, recipe in enumerate((RECIPES["modern"], RECIPES["reference"])):
        assert float(numbers["--learning-rate"][column]) == recipe.learning_rate
        assert numbers["--schedule"][column].startswith(recipe.schedule)
        assert numbers["--batch-size"][column] == f"{recipe.batch_size} × {recipe.window}"
        assert int(numbers["--negatives"][column]) == recipe.negatives
        assert float(numbers["--dropout"][column]) == recipe.dropout
    assert [f"{RECIPES[name].clip_norm}" for name in ("modern", "reference")] == ["1.0", "10.0"]
    assert any(row[1:] == ["1.0", "10.0"] for row in cells)
    assert str(WARMUP_STEPS) in numbers["--schedule"][0]
