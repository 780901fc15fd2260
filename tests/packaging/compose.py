"""docker-compose.yml builds, starts, answers, survives an outage and ends: `make test-compose`.

    python tests/packaging/compose.py [COMPOSE COMMAND...]      # default: docker compose

Everything is real: images, containers, TLS, the sample clip. What was started is removed again,
volumes included. The last line counts the checks.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ANSWERS_WITHIN_S = 120.0
STORE = "/var/lib/saccade/store.db"


class Compose:
    """One compose command line, run in the project's folder."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = [*command, "-f", "docker-compose.yml"]

    def __call__(self, *words: str, check: bool = True) -> str:
        """Its output. Raises ``SystemExit`` with it where the command fails."""
        done = subprocess.run(
            [*self._command, *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            sys.exit(f"{' '.join(words)} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def answers(self) -> int:
        """Answers in the edge's log so far."""
        return len(re.findall(r" -> \S", self("logs", "edge", check=False)))

    def stored(self) -> int:
        """Packets that the cloud's store holds."""
        text = self("exec", "-T", "cloud", "saccade", "cloud", "store", STORE, check=False)
        found = re.search(r"([\d,]+) packets", text)
        return int(found[1].replace(",", "")) if found else 0


def until(what: Callable[[], bool], within_s: float) -> bool:
    """Whether ``what`` became true in time."""
    ends = time.monotonic() + within_s
    while not (true := what()) and time.monotonic() < ends:
        time.sleep(2)
    return true


def checks(compose: Compose) -> list[tuple[str, bool]]:
    """Each promise of the compose file, and whether it was kept."""
    answered = until(lambda: compose.answers() > 0, ANSWERS_WITHIN_S)
    found = [
        ("an answer is in the edge's log", answered),
        ("the cloud has stored packets", until(lambda: compose.stored() > 0, 30)),
        ("the cloud runs without root", _inside(compose, "cloud", "id", "-u") == "10001"),
        ("the edge runs without root", _inside(compose, "edge", "id", "-u") == "10001"),
        ("the edge has no torch", "No module named" in _import(compose, "edge", "torch")),
        ("the cloud has no torch", "No module named" in _import(compose, "cloud", "torch")),
    ]
    before = compose.stored()
    compose("stop", "cloud")
    time.sleep(10)  # the edge goes on looking, into its spool
    compose("start", "cloud")
    found.append(("packets arrive after an outage", until(lambda: compose.stored() > before, 60)))
    return found


def _inside(compose: Compose, service: str, *words: str) -> str:
    return compose("exec", "-T", service, *words, check=False).strip().splitlines()[-1]


def _import(compose: Compose, service: str, module: str) -> str:
    return compose("exec", "-T", service, "python", "-c", f"import {module}", check=False)


def main(words: Sequence[str]) -> int:
    """0 if every check passed."""
    compose = Compose(words or ("docker", "compose"))
    started = time.monotonic()
    compose("down", "-v", check=False)
    try:
        compose("up", "--build", "-d")
        print(f"up after {time.monotonic() - started:.0f} s", flush=True)
        found = checks(compose)
        passed = sum(good for _, good in found)
        for name, good in found:
            print(f"{'ok    ' if good else 'FAILED'} {name}")
        if passed < len(found):
            print(compose("ps", check=False), compose("logs", check=False)[-8000:])
    finally:
        compose("down", "-v", check=False)
    print(f"compose: {passed} passed, {len(found) - passed} failed")
    return 0 if passed == len(found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
