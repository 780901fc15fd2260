"""An edge process that is killed again and again on one spool."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

from saccade_testing.edge_process import EdgePlan
from saccade_testing.journal import Journal, handed

ONE_IN = 10  # so many runs are killed before they have handed anything over


async def kill_loop(plan: EdgePlan, *, cycles: int, seed: int, most_s: float = 0.3) -> Journal:
    """``cycles`` runs that are killed with SIGKILL at a moment that ``seed`` chooses: while they
    open the spool, or within ``most_s`` after their first packet. Then one that sends nothing new
    and ends when the cloud has all. Raises ``AssertionError`` where that fails.
    """
    chance = random.Random(seed)
    for _ in range(cycles):
        async with plan.start() as edge:
            edge.journal.follow()
            before = len(edge.journal.handed)
            if chance.randrange(ONE_IN):
                await edge.until(handed(before + 1))
                await asyncio.sleep(chance.uniform(0.0, most_s))
            else:
                await asyncio.sleep(chance.uniform(0.2, 0.5))
            await edge.kill()
    async with replace(plan, every_s=0.0).start() as last:
        await last.end("drain", 90)
        return last.journal
