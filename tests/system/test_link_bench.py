"""The link benchmark runs: an edge, a cloud, a link, six seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAST = {"on_time_mean", "on_time_worst", "live_p95_s", "oracle_share", "avif_crossover_mbit"}


def test_a_short_run_accounts_for_every_frame() -> None:
    words = ("--traces=step", "--arms=robust", "--seconds=6", "--rates=", "--parallel=1")
    done = subprocess.run(
        [sys.executable, "-m", "bench.link", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    assert set(record) == LAST
    assert 0 < record["on_time_mean"] <= 1
    captured = next(line for line in done.stdout.splitlines() if line.startswith("= captured"))
    assert captured.split()[-1] == "12"
