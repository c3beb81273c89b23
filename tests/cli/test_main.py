"""The command as a whole: verbs, help, exit statuses, and that nothing is imported for nothing."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub import VERSION
from hub.cli.examples import EXAMPLES
from hub.cli.main import VERBS, _parser, main


def test_help_names_every_verb_with_examples(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in VERBS)
    assert "examples:" in text


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Of every verb within it, to any depth."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield inner
                yield from parsers(inner)


def every_verb() -> dict[str, argparse.ArgumentParser]:
    """By its words; the parser of a verb is whole only where the verb was asked for."""
    found = {}
    for verb in VERBS:
        whole = next(each for each in parsers(_parser([verb])) if each.prog == f"mcp-hub {verb}")
        for each in (whole, *parsers(whole)):
            found[each.prog.removeprefix("mcp-hub ")] = each
    return found


def test_every_verb_shows_itself_in_use() -> None:
    assert set(EXAMPLES) == set(every_verb())
    for words, parser in every_verb().items():
        text = parser.format_help()
        assert "examples:\n" in text
        assert all(f"  {command}" in text for command, _ in EXAMPLES[words])
        assert all(len(line) <= 120 for line in text.splitlines()), text


def test_every_verb_says_what_it_does_and_what_each_argument_is() -> None:
    for words, parser in every_verb().items():
        assert parser.description, words
        silent = [
            action.dest for action in parser._actions if not action.help and action.metavar not in ("VERB", "TARGET")
        ]
        assert silent == [], words


@pytest.mark.parametrize(("words", "command"), [(words, row[0]) for words, rows in EXAMPLES.items() for row in rows])
def test_every_example_is_understood(words: str, command: str) -> None:
    argv = shlex.split(command.partition(" < ")[0])[1:]
    assert " ".join(argv).startswith(words)
    assert callable(_parser(argv).parse_args(argv).run)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_explains_itself(verb: str, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert f"usage: mcp-hub {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], ["frob"], ["token", "--frob"], ["keys"], ["keys", "create"], ["tools", "call"]])
def test_wrong_usage_is_2(argv: list[str], data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert "usage: mcp-hub" in capsys.readouterr().err


def test_a_bad_configuration_is_2_with_every_fault(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("hub.yaml").write_text("listen: x\nreslts: off\n")
    assert main(["token"]) == 2
    told = capsys.readouterr().err
    assert "the configuration has 2 faults:" in told
    assert "hub.yaml:1: listen: must be HOST:PORT" in told
    assert "hub.yaml:2: reslts: unknown key; did you mean 'results'?" in told


def test_a_missing_configuration_is_2(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--config", "no.yaml"]) == 2
    assert "one fault" in capsys.readouterr().err


def test_the_version_is_told(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"mcp-hub {VERSION}\n"
    assert main(["version", "--json"]) == 0
    assert "2026-07-28" in json.loads(capsys.readouterr().out)["revisions"]


LIGHT = (
    "hub.cli.main",
    *(f"hub.cli.{verb.replace('-', '_')}" for verb in sorted(VERBS) if verb not in ("serve", "up")),
)
HEAVY = ("mcp", "mcp_types", "pydantic", "starlette", "uvicorn", "prometheus_client")


@pytest.mark.parametrize("module", LIGHT)
def test_a_verb_that_runs_no_hub_does_not_import_one(module: str) -> None:
    script = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.strip() == "[]"


def test_a_reader_that_has_enough_is_no_error(data_dir: Path) -> None:
    command = f"{sys.executable} -m hub.cli.main version | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.strip() == "0"
    assert done.stderr == ""


@pytest.mark.parametrize(("raised", "status"), [(KeyboardInterrupt, 1), (BrokenPipeError, 0)])
def test_an_interruption_ends_without_a_traceback(
    raised: type[BaseException],
    status: int,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def run(args: object) -> int:
        raise raised

    monkeypatch.setattr("hub.cli.version.run", run)
    assert main(["version"]) == status
    assert capfd.readouterr().err == ""
