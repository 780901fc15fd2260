"""An honest device beside a greedy one, in processes of their own, on the shipped bundle."""

from __future__ import annotations

import json

import pytest
from bench import fairness

from saccade.bundle import Bundle


@pytest.mark.timeout(300)
def test_a_greedy_device_costs_an_honest_one_no_answer(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    """How much later they come depends on the machine: `make bench-fairness` measures it, and
    tests/cloud/test_fair_queue.py holds the engine to three times, counted in its work.
    """
    short = ("--rounds=1", "--seconds=3", "--packets=100")
    fairness.main((f"--bundle={bundle.folder}", *short))
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])
    assert found["answered_share"] >= 0.9
    assert found["beside_p50_ms"] > found["alone_p50_ms"] > 0
    refused = next(line for line in lines if line.startswith("refused")).split()
    assert refused[1:3] == ["0", "0"]
