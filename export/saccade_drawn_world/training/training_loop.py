"""What both stages of training share: schedule, checkpoints, progress."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

T = TypeVar("T")
REPORT_STEPS = 50


@dataclass(frozen=True)
class Plan:
    """How one stage is trained. ``minutes`` bounds it on any machine; the learning rate follows
    the share of the time that has gone, so a slower machine sees fewer frames, not a cut-off
    schedule.
    """

    minutes: float
    batch: int
    rate: float = 1.2e-3
    warmup: float = 0.02  # share of the stage
    decay: float = 0.05
    clip: float = 1.0
    seed: int = 0
    save_every_s: float = 120.0


def learning_rate(plan: Plan, done: float) -> float:
    """Linear warm-up, then a cosine to 2 % of the peak; ``done`` in 0..1."""
    if done < plan.warmup:
        return plan.rate * max(done / plan.warmup, 0.01)
    phase = (done - plan.warmup) / (1 - plan.warmup)
    return plan.rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(phase, 1.0))))


def optimizer(parameters: Iterable[Tensor], plan: Plan) -> torch.optim.AdamW:
    """AdamW as small transformers like it."""
    return torch.optim.AdamW(parameters, lr=plan.rate, betas=(0.9, 0.98), weight_decay=plan.decay)


def save(path: Path, state: dict[str, Any]) -> None:
    """Atomic: a checkpoint is there whole or not at all."""
    part = path.with_suffix(".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, part)
    part.rename(path)


def load(path: Path) -> dict[str, Any]:
    """A checkpoint, tensors only: nothing in it can run."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


class Clock:
    """Training time spent, over interruptions: ``spent_s`` comes from the checkpoint."""

    def __init__(self, plan: Plan, spent_s: float = 0.0) -> None:
        self.plan, self._before, self._start = plan, spent_s, time.monotonic()
        self._saved = self._start
        self._agreed: float | None = None

    @property
    def spent_s(self) -> float:
        return self._before + time.monotonic() - self._start

    @property
    def done(self) -> float:
        """What was agreed, see ``agree``, else as the own time says; 0..1."""
        return self.own if self._agreed is None else self._agreed

    def agree(self, done: float) -> None:
        """Go by the clock of another process, until this is called again."""
        self._agreed = done

    @property
    def own(self) -> float:
        planned_s = 60 * self.plan.minutes
        return min(self.spent_s / planned_s, 1.0) if planned_s > 0 else 1.0

    def should_save(self) -> bool:
        if time.monotonic() - self._saved < self.plan.save_every_s:
            return False
        self._saved = time.monotonic()
        return True


def prefetch(make: Callable[[], T], ahead: int = 3) -> Iterator[T]:
    """What ``make`` gives, again and again, made beside the training thread."""
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(make) for _ in range(ahead)]
        while True:
            yield waiting.pop(0).result()
            waiting.append(pool.submit(make))


def descend(
    loss: Tensor,
    descent: torch.optim.Optimizer,
    parameters: Iterable[Tensor],
    plan: Plan,
    meet: Callable[[], None] = lambda: None,
) -> None:
    """One step down the gradient, clipped. ``meet``: what happens to the gradients before."""
    descent.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    meet()
    torch.nn.utils.clip_grad_norm_(parameters, plan.clip)
    descent.step()


def run(
    name: str,
    clock: Clock,
    descent: torch.optim.Optimizer,
    step: int,
    take_step: Callable[[], Callable[[], str]],
    store: Callable[[int], None],
    *,
    silent: bool = False,
) -> None:
    """Take steps until the clock has run out, with a progress bar and checkpoints.

    ``take_step`` gives a description of what it saw; ``store`` gets the number of steps.
    ``silent``: another process shows and saves.
    """
    with progress(disable=silent) as bar:
        task = bar.add_task(name, total=1000, note="")
        while clock.done < 1.0:
            for group in descent.param_groups:
                group["lr"] = learning_rate(clock.plan, clock.done)
            describe = take_step()
            step += 1
            if step % REPORT_STEPS == 0 and not silent:
                bar.update(task, completed=int(1000 * clock.done), note=f"step {step}")
                line = f"{name} {step:6d} {clock.spent_s:6.0f}s {describe()}"
                bar.console.print(line, soft_wrap=True)
            if clock.should_save() and not silent:
                store(step)
    if not silent:
        store(step)


def progress(*, disable: bool = False) -> Progress:
    """A bar with a share done, times and a note."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:5.1f} %"),
        TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
        refresh_per_second=1, disable=disable,
    )  # fmt: skip
