"""``make fuzz``: atheris (libFuzzer) on the targets, beginning with golden packets.

    PYTHONPATH=tests python tests/fuzz/run.py CORPUS [libFuzzer options]

CORPUS keeps what reached new code, from run to run. A finding ends the run with its traceback and
a file crash-* that the same command with it for CORPUS runs again.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

# Not at the top of the file as an import: only this command needs it.
atheris = importlib.import_module("atheris")

# A frame decodes in milliseconds, in megabytes: an input that takes five seconds, or gigabytes, is
# a finding. (Atheris itself grows by some 80 bytes with each execution.)
BOUNDS = ("-timeout=5", "-rss_limit_mb=3072", "-max_len=4096")


def main() -> None:
    with atheris.instrument_imports(include=["saccade"]):
        targets = importlib.import_module("targets")
    corpus = Path(sys.argv[1])
    if not corpus.is_file():
        corpus.mkdir(parents=True, exist_ok=True)
        for name, data in targets.seeds():
            (corpus / name).write_bytes(data)
    atheris.Setup([sys.argv[0], *BOUNDS, *sys.argv[1:]], targets.one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
