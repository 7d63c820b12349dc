"""The program around its commands: help, errors as one line, exit statuses, option files."""

import errno
import inspect
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest

from elmokit import cli
from elmokit.cli import main as program
from elmokit.cli.main import main, read_options
from elmokit.errors import FormatError, MissingExtraError


def elmo(*words: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from elmokit.cli.main import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=100)


def fake_info(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let the command `info` raise an error."""

    def info() -> None:
        """Raise."""
        raise error

    monkeypatch.setattr("elmokit.cli.commands.info.info", info)


def the_one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on stderr, which must be one line, with nothing on stdout."""
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.endswith("\n")
    assert output.err.count("\n") == 1
    assert output.err.startswith("elmo: ")
    return output.err.removeprefix("elmo: ").rstrip("\n")


def test_help_names_every_command_and_what_it_does() -> None:
    result = elmo("--help")
    assert result.returncode == 0
    assert result.stderr == ""
    for command in cli.__all__:
        summary = getattr(cli, command).__doc__.split()
        assert f" {command} " in result.stdout
        assert " ".join(summary[:3]) in " ".join(result.stdout.replace("│", " ").split())


def test_no_help_needs_torch() -> None:
    """Loading torch takes longer than a person waits for help."""
    code = """
import sys
from elmokit import cli
from elmokit.cli.main import main
for words in [["--help"], *([command, "--help"] for command in cli.__all__)]:
    assert main(words) == 0
assert "torch" not in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import elmokit

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == elmokit.__version__


@pytest.mark.parametrize("command", cli.__all__)
def test_a_command_is_a_function_and_documents_each_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    function: Callable[..., object] = getattr(cli, command)
    assert callable(function)
    assert function.__name__ == command
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    groups = groups_of(function)
    for parameter, about in inspect.signature(function).parameters.items():
        assert re.search(rf"^ +{parameter}: \S", function.__doc__ or "", re.MULTILINE), f"{parameter} is not documented"
        options = documented_fields(groups[parameter]) if parameter in groups else [parameter]
        for option in options:
            spelling = option.upper() if about.kind is about.POSITIONAL_ONLY else f"--{option.replace('_', '-')}"
            assert spelling in text


def groups_of(function: Callable[..., object]) -> dict[str, type]:
    """The parameters of a command of which each field is an option."""
    return {name: kind for name, kind in get_type_hints(function).items() if isinstance(kind, type) and is_dataclass(kind)}


def documented_fields(group: type) -> dict[str, str]:
    """The fields of a group and what stands below each of them."""
    about = dict(re.findall(r'^    (\w+): .*\n    """(\S[^"]+)"""$', inspect.getsource(group), re.MULTILINE))
    assert list(about) == [field.name for field in fields(group)]
    return about


@pytest.mark.parametrize("command", cli.__all__)
def test_help_loses_no_word(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its markup might take one for a tag or for emphasis."""
    assert main([command, "--help"]) == 0
    shown = re.sub(r"[\s│`]", "", capsys.readouterr().out)
    function = getattr(cli, command)
    about = re.split(r"\n *(?:Args|Raises):\n", inspect.getdoc(function) or "")[:2]
    groups = groups_of(function)
    about[1:] = [line for line in "".join(about[1:]).splitlines() if line.strip().split(":")[0] not in groups]
    about += [text for group in groups.values() for text in documented_fields(group).values()]
    words = [re.sub("`", "", word) for part in about for word in re.sub(r"(?m)^ +\w+: ", "", part).split()]
    assert [word for word in words if word not in shown] == []


def test_a_submodule_does_not_hide_a_command() -> None:
    import elmokit.cli.commands.info

    assert cli.info is elmokit.cli.commands.info.info


def test_an_unknown_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inof"]) == 2
    line = the_one_line(capsys)
    assert '"inof"' in line
    assert '"info"' in line


def test_an_unknown_option_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "en-small", "--jsn"]) == 2
    line = the_one_line(capsys)
    assert "--jsn" in line
    assert "--json" in line
    assert "elmo info --help" in line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("--batch-size must be above 0,\n  not -3"), "--batch-size must be above 0, not -3"),
        (FormatError("weights.hdf5: no dataset char_embed"), "weights.hdf5: no dataset char_embed"),
        (MissingExtraError(".parquet", "parquet"), ".parquet needs an optional library: pip install 'elmokit[parquet]'"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.txt"), "a.txt: no such file or folder; check the path"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "a"), "a: it is a folder; name a file"),
        (OSError(errno.ENOSPC, "No space left"), "no space left on the disk; free some or choose another place"),
        (OSError("Unable to open file"), "Unable to open file"),
        (MemoryError("no room for int8 weights"), "out of memory: no room for int8 weights"),
        (MemoryError(), "out of memory: free some"),
        (RuntimeError("DefaultCPUAllocator: not enough memory"), "out of memory: DefaultCPUAllocator: not enough memory"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, line: str
) -> None:
    fake_info(monkeypatch, error)
    assert main(["info"]) == 2
    assert the_one_line(capsys) == line


def test_what_is_no_mistake_of_the_users_is_shown_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_info(monkeypatch, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        main(["info"])


def test_an_interrupt_is_one_line_and_status_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fake_info(monkeypatch, KeyboardInterrupt())
    assert main(["info"]) == 130
    assert the_one_line(capsys) == "interrupted"


def test_sigterm_is_one_line_and_status_143(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def info() -> None:
        """Be stopped."""
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("elmokit.cli.commands.info.info", info)
    assert main(["info"]) == 143
    assert the_one_line(capsys) == "terminated"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_handler_of_sigterm_that_is_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def info() -> None:
        """Be told."""
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("elmokit.cli.commands.info.info", info)
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        assert main(["info"]) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_info(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["info"])


def test_a_reader_that_leaves_is_no_error() -> None:
    code = "import sys; from elmokit.cli.main import main; sys.stdin.read(); sys.exit(main(['info', '--help']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        process.stdin.close()  # it has waited for this, so that nobody reads when it prints
        assert process.stderr.read() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_an_output_that_cannot_be_written_is_said() -> None:
    with open("/dev/full", "w") as full:
        code = "import sys; from elmokit.cli.main import main; sys.exit(main(['--version']))"
        result = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 2
    assert result.stderr == "elmo: no space left on the disk; free some or choose another place\n"


class TestOptionFile:
    """`--config file.yaml` sets any option; the command line wins."""

    @pytest.fixture
    def seen(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, list[str]]]:
        """What a command with three options was given."""
        calls: list[tuple[str, int, list[str]]] = []

        def info(model: str, *, batch_tokens: int = 5, corpus: list[str] | None = None) -> None:
            """Note the options."""
            calls.append((model, batch_tokens, corpus or []))

        monkeypatch.setattr("elmokit.cli.commands.info.info", info)
        return calls

    @pytest.mark.parametrize("name", ["batch-tokens", "batch_tokens"])
    def test_it_sets_options(self, seen: list[object], tmp_path: Path, name: str) -> None:
        file = tmp_path / "options.yaml"
        file.write_text(f"model: m\n{name}: 7\ncorpus: [a b, c]\n", encoding="utf-8")
        assert main(["info", "--config", str(file)]) == 0
        assert main(["info", "--config", str(file), "--batch-tokens", "8"]) == 0
        assert main(["--config", str(file), "info", "n", "--corpus", "d", "--corpus", "e"]) == 0
        assert seen == [("m", 7, ["a b", "c"]), ("m", 8, ["a b", "c"]), ("n", 7, ["d", "e"])]

    def test_an_empty_value_keeps_the_default(self, seen: list[object], tmp_path: Path) -> None:
        file = tmp_path / "options.yaml"
        file.write_text("batch-tokens:\n", encoding="utf-8")
        assert main(["info", "m", "--config", str(file)]) == 0
        assert seen == [("m", 5, [])]

    def test_an_unknown_option_names_the_file(
        self, seen: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "options.yaml"
        file.write_text("batch-tokns: 7\n", encoding="utf-8")
        assert main(["info", "m", "--config", str(file)]) == 2
        line = the_one_line(capsys)
        assert str(file) in line
        assert "batch-tokns" in line
        assert seen == []

    @pytest.mark.parametrize("place", range(4))
    @pytest.mark.parametrize("command", ["info", "embed"])
    @pytest.mark.parametrize("joined", [False, True])
    def test_a_file_that_is_missing_is_named(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: int, command: str, joined: bool
    ) -> None:
        """Wherever it is named; `embed` takes `-` for its input, which must not swallow the option."""
        file = tmp_path / "options.yaml"
        words = [command, "a", "b"]
        words[place:place] = [f"--config={file}"] if joined else ["--config", str(file)]
        assert main(words) == 2
        assert the_one_line(capsys) == f"{file}: no such file or folder; check the path"

    def test_a_file_that_is_not_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["info", "--config"]) == 2
        assert "--config" in the_one_line(capsys)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"a: 1\nb: [", "line 2"),
            (b"a: \xff", "UTF-8"),
            (b"a: \x00", "YAML"),
            (b"", "option: value"),
            (b"- a", "option: value"),
        ],
    )
    def test_what_is_no_mapping_is_refused(self, tmp_path: Path, content: bytes, said: str) -> None:
        file = tmp_path / "options.yaml"
        file.write_bytes(content)
        with pytest.raises(FormatError, match="options.yaml") as caught:
            read_options(file)
        assert said in str(caught.value)


def test_every_remedy_tells_what_to_do() -> None:
    assert all(";" in remedy for remedy in program.REMEDIES.values())


def test_python_m_elmokit_is_the_program() -> None:
    command = [sys.executable, "-m", "elmokit"]
    assert "Usage: elmo" in subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    wrong = subprocess.run([*command, "info", "nowhere"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("elmo: nowhere: no such model")
