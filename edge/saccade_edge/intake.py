"""From the feed to the uplink, each frame as its budget says.

A recording waits until a frame may go. A camera's frame goes to the spool where it may not go now,
and on from there at once if the link is back before it is late; without a spool, or once the day's
bytes are used up, it is withheld, and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from saccade_edge.allowance import Allowance, Terms
from saccade_edge.budget import Decision
from saccade_edge.feed import Feed, Taken
from saccade_edge.ledger import Ledger
from saccade_edge.uplink import Uplink

# A recording that waits asks so often.
AGAIN_S = 0.1


class Intake:
    """``run`` once. ``waits``: the source is a recording; ``spooled``: there is a spool."""

    def __init__(
        self,
        feed: Feed,
        uplink: Uplink,
        allowance: Allowance,
        ledger: Ledger,
        questions: Sequence[str],
        *,
        waits: bool,
        spooled: bool,
    ) -> None:
        self._feed = feed
        self._uplink = uplink
        self._allowance = allowance
        self._ledger = ledger
        self._questions = questions
        self._waits = waits
        self._spooled = spooled

    async def run(self) -> None:
        """Until the source ends. Raises what source, stages and uplink raise."""
        while True:
            await self._uplink.room(len(self._questions))
            taken = await self._feed.next()
            if taken is None:
                return
            terms = await self._terms()
            if terms.decision is not None and self._withholds(terms.decision):
                self._ledger.withheld(taken.frame, terms.decision)
            else:
                await self._send(taken, terms)

    async def _terms(self) -> Terms:
        """Decided once the frame is there: what the link has shown meanwhile counts."""
        terms = self._allowance.terms()
        while self._waits and terms.decision is not None and _passes(terms.decision):
            await asyncio.sleep(AGAIN_S)
            terms = self._allowance.terms(again=True)
        return terms

    def _withholds(self, decision: Decision) -> bool:
        return not decision.live and (decision.bound == "cap" or not self._spooled)

    async def _send(self, taken: Taken, terms: Terms) -> None:
        decision = terms.decision
        look = await self._feed.look(taken.frame, terms.plan, terms.tokens_per_frame)
        if look.packet is None:
            self._ledger.skipped(look)
            return
        self._ledger.sending(look, look.packet.ByteSize(), taken.since_s, decision)
        held = decision is not None and decision.held
        live = decision is None or decision.live or held
        point = decision.number if decision is not None else None
        await self._uplink.send(look.packet, self._questions, live=live, held=held, point=point)


def _passes(decision: Decision) -> bool:
    """Whether what keeps the frame back is over soon, as the end of the day is not."""
    return not decision.live and decision.bound != "cap"
