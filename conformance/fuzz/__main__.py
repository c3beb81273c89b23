"""`python -m conformance.fuzz TARGET --seconds N`: coverage-guided, by atheris, which `pip install atheris` brings.

Without a target it names those there are. A finding is printed with the bytes that make it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from conformance.fuzz.target import Target

CORPUS = Path(__file__).with_name("corpus")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m conformance.fuzz", description=__doc__)
    parser.add_argument("target", nargs="?")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, help="begin from this folder too, and keep there what is found")
    parser.add_argument("--once", type=Path, help="check the bytes of this one file, without atheris")
    given = parser.parse_args()
    if given.once is not None and given.target is not None:
        _targets()[given.target].check(given.once.read_bytes())
        return 0
    if given.target is None:
        for target in _targets().values():
            print(f"{target.name:<14} {target.claim}")
        return 0
    try:
        import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        print("atheris is not installed; run: pip install atheris", file=sys.stderr)
        return 2
    for name in ("json", "json.decoder", "json.scanner"):
        sys.modules.pop(name, None)  # imported anew, it is instrumented too
    with atheris.instrument_imports(include=["hub", "h11", "json", "conformance.fuzz"], enable_loader_override=False):
        target = _targets()[given.target]
    with tempfile.TemporaryDirectory() as folder:
        corpus = given.corpus or Path(folder) / "corpus"
        _fill(corpus, target)
        argv = [sys.argv[0], f"-max_total_time={given.seconds}", "-print_final_stats=1", "-max_len=4096"]
        argv.append(f"-artifact_prefix={tempfile.gettempdir()}/")
        if target.words:
            argv.append(f"-dict={_dictionary(Path(folder), target)}")
        atheris.Setup([*argv, str(corpus)], target.check)
        atheris.Fuzz()
    return 0


def _targets() -> dict[str, Target]:
    from conformance.fuzz import messages, streams

    return {target.name: target for target in (*messages.TARGETS, *streams.TARGETS)}


def _fill(folder: Path, target: Target) -> None:
    """A corpus to begin from: the seeds, and what earlier runs found worth keeping."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = sorted((CORPUS / target.name).glob("*")) if (CORPUS / target.name).is_dir() else []
    for number, data in enumerate([*target.seeds, *(path.read_bytes() for path in kept)]):
        (folder / f"seed-{number}").write_bytes(data)


def _dictionary(folder: Path, target: Target) -> Path:
    path = folder / "words"
    path.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in target.words))
    return path


if __name__ == "__main__":
    sys.exit(main())
