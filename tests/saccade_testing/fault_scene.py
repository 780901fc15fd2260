"""One fault's cloud, edges and line in the table of faults."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saccade.bundle import Bundle
from saccade_edge.spool.spool_inspection import look_into
from saccade_testing.cloud_server import packet
from saccade_testing.commands import cloud_process
from saccade_testing.edge_process import EdgePlan
from saccade_testing.invariant import Figures, examine, watch
from saccade_testing.journal import Journal

Process = subprocess.Popen[str]
HEAD = "captured  stored  in spool   lost  heard again  seconds  fault"


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Its own waits have limits that say more, this is the last one."""
    asyncio.run(asyncio.wait_for(story(), 900))


def packets_of(folder: Path, *kept: int) -> Path:
    """Ready-made packets for edges, which the cloud can decode, with so many tokens a view."""
    path = folder / "packets.json"
    made = [packet(1, kept=each).SerializeToString().hex() for each in kept]
    path.write_text(json.dumps(made))
    return path


@dataclass
class Scene:
    """One fault's folder, cloud, plan of an edge, and line in the table."""

    folder: Path
    bundle: Bundle
    packets: Path
    add_line: Callable[[str], None]
    began_s: float = field(default_factory=time.monotonic)
    _cloud: Process | None = None

    @property
    def store(self) -> Path:
        return self.folder / "store.db"

    def plan(self, cloud: str, **fields: Any) -> EdgePlan:
        spool, journal = self.folder / "kerb.spool", self.folder / "kerb.journal"
        usual = {"spool": spool, "journal": journal, "packets": self.packets}
        return EdgePlan(cloud, self.bundle.folder, **{**usual, **fields})

    @contextmanager
    def cloud(
        self, *words: str, store: Path | None = None
    ) -> Iterator[tuple[subprocess.Popen[str], str]]:
        """A process that serves from this scene's store, and counts what it hears."""
        path = store or self.store
        watched = path.exists()
        with cloud_process(self.bundle.folder, "--store", str(path), *words) as served:
            if not watched:
                watch(path)
            self._cloud = served[0]
            yield served

    def stop_cloud(self) -> None:
        """The one that serves, as by its operator."""
        assert self._cloud is not None
        self._cloud.terminate()
        assert self._cloud.wait(30) == 0

    def counted(self, plan: EdgePlan, counter: str) -> int:
        """What an edge's spool says while it runs."""
        return look_into(plan.spool)[0].counts.get(counter, 0)

    def waiting(self, plan: EdgePlan) -> int:
        """Packets in an edge's spool."""
        return look_into(plan.spool)[0].packets

    def examine(
        self, fault: str, *edges: EdgePlan, store: Path | None = None, conflicts: int = 0
    ) -> Figures:
        """Check every promise and note the line; all processes have ended. None of the faults is
        a reason for a new boot: under one, the cloud would have packets twice.
        """
        known = [(Journal(plan.journal), plan.spool) for plan in edges]
        for journal, _ in known:
            assert journal.count("SpoolReborn") == 0, journal.told
        figures = examine(store or self.store, *known, conflicts=conflicts)
        self.note(fault, figures)
        return figures

    def note(self, fault: str, figures: Figures) -> None:
        lost = f" ({', '.join(f'{n} {name}' for name, n in figures.counters.items())})"
        self.add_line(
            f"{figures.captured:8,}  {figures.stored:6,}  {figures.in_spool:8,}  "
            f"{figures.lost:5,}  {figures.heard_again:11,}  "
            f"{time.monotonic() - self.began_s:7.1f}  {fault}{lost if figures.lost else ''}"
        )
