"""``make mutation``: small faults are put into chosen modules; which of them do the tests notice?

    PYTHONPATH=tests python -m mutation [--per-module 20] [--only selection] [--seed 1]

The operators are cosmic-ray's. Its own runner changes the checkout itself, starts a fresh pytest
for each fault and has no seeded sample, so a short loop stands here in its place: it works in
copies of the tree and forks. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mutation.chosen import CHOSEN, Group
from mutation.mutants import Mutant, mutants_of
from mutation.trial import Trial, copy_tree

ROOT = Path(__file__).parents[2]
Work = tuple[Mutant, tuple[str, ...], float]  # with its tests and their time limit in seconds


def main() -> None:
    options = _options()
    groups = {name: group for name, group in CHOSEN.items() if name in options.only}
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        tree = copy_tree(ROOT, Path(folder) / "0")
        work: list[Work] = []
        for name, group in groups.items():
            limit_s = options.limit_s or _limit_s(tree, name, group)
            for path in group.modules:
                mutants = mutants_of(ROOT, path, options.per_module, options.seed)
                work += [(mutant, group.tests, limit_s) for mutant in mutants]
        trees = [tree] + [
            Path(shutil.copytree(tree, Path(folder) / str(n))) for n in range(1, options.workers)
        ]
        results = list(_results(work, trees))
    _print_table(results)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mutation", description=__doc__)
    parser.add_argument("--per-module", type=int, default=20, help="at most so many faults each")
    parser.add_argument("--only", nargs="+", choices=sorted(CHOSEN), default=sorted(CHOSEN))
    parser.add_argument("--seed", type=int, default=1, help="another seed, another sample")
    parser.add_argument("--workers", type=int, default=2, help="copies of the tree at work")
    parser.add_argument(
        "--limit-s", type=float, help="a fault's time; without it, 4 times what the tests take"
    )
    return parser.parse_args()


def _limit_s(tree: Path, name: str, group: Group) -> float:
    """From a run without a fault, which must pass."""
    trial = Trial(tree, group.tests, limit_s=900)
    status = _wait(trial)
    if status != 0:
        sys.stderr.write((tree / "mutation.log").read_text())
        raise SystemExit(f"{name}: its tests end with status {status} without any fault")
    print(f"{name}: tests pass in {trial.seconds:.1f} s", flush=True)
    return max(20.0, 4 * trial.seconds)


def _wait(trial: Trial) -> int:
    trial.start()
    while (status := trial.ended()) is None:
        time.sleep(0.02)
    return status


def _results(work: list[Work], trees: list[Path]) -> Iterator[tuple[Mutant, bool]]:
    """Each mutant with whether it was noticed, as they end."""
    waiting, free, running = work[::-1], list(trees), list[Trial]()
    while waiting or running:
        while waiting and free:
            mutant, tests, limit_s = waiting.pop()
            trial = Trial(free.pop(), tests, limit_s, mutant)
            trial.start()
            running.append(trial)
        for trial in list(running):
            status = trial.ended()
            if status is None or trial.mutant is None:
                continue
            running.remove(trial)
            free.append(trial.tree)
            if status == 0:
                print(f"not noticed: {trial.mutant.path} | {trial.mutant.change}", flush=True)
            yield trial.mutant, status != 0
        time.sleep(0.02)


def _print_table(results: list[tuple[Mutant, bool]]) -> None:
    modules: dict[str, dict[str, float]] = {}
    for path in dict.fromkeys(mutant.path for mutant, _ in results):
        modules[path] = _shares([seen for mutant, seen in results if mutant.path == path])
        row = modules[path]
        print(f"{path:<52} {row['noticed']:>4} of {row['mutants']:>4}  {row['share']:6.1%}")
    total = _shares([noticed for _, noticed in results])
    print(f"{'all':<52} {total['noticed']:>4} of {total['mutants']:>4}  {total['share']:6.1%}")
    print(json.dumps({**total, "modules": modules}))


def _shares(noticed: list[bool]) -> dict[str, float]:
    share = round(sum(noticed) / len(noticed), 4) if noticed else 1.0
    return {"noticed": sum(noticed), "mutants": len(noticed), "share": share}


if __name__ == "__main__":
    main()
