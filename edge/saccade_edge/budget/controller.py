"""The budget of one edge: what each frame may cost, and why.

Rules, the first that applies:

1. Without a connection, frames go to the spool, and on from there if it is back in time.
2. A camera whose bytes of the day are used up sends nothing.
3. More frames a minute than the cloud takes go to the spool.
4. While the oldest packet has not been acknowledged for longer than the deadline, frames go to the
   spool (the age gate), and on from there likewise: behind it they would only be late. Now and then
   the smallest goes out.
5. Of the points that the settings and the day's cap allow, the policy chooses.

No clock and no I/O: ``now_s`` is any monotonic clock in seconds, ``unix_s`` the time of day. A
``now_s`` that is not finite counts as the last one. Where it goes back, all that was measured by it
is forgotten. Belongs to one thread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from saccade.errors import LimitExceeded
from saccade.manifest import Manifest
from saccade_edge.budget import reasons
from saccade_edge.budget.base import Choice, Delivery, Moment, Policy
from saccade_edge.budget.budget_settings import BudgetSettings
from saccade_edge.budget.caps import DailyCap
from saccade_edge.budget.cloud_bound import CloudBound
from saccade_edge.budget.decision import Bound, Decision
from saccade_edge.budget.frame_interval import FrameInterval
from saccade_edge.budget.ladder import Ladder
from saccade_edge.budget.registry import make_policy
from saccade_edge.budget.trips import Trips
from saccade_edge.budget.unacknowledged import Sent, Unacknowledged

MOST_CAMERAS = 256
# Acknowledgements may overtake each other by so much; what is older than that was lost.
OVERTAKING_S = 1.0
# Two threads' readings of one clock may arrive in the wrong order.
CLOCK_SLACK_S = 1.0
CLOCK_BOUND_S = 1e12
# The spool is sent from only where the link carries so many times the smallest frame.
SPOOL_ROOM = 4


@dataclass(frozen=True, slots=True)
class _Camera:
    pace: FrameInterval
    cap: DailyCap


class Controller:
    """``policy``: one of your own in the settings' place.

    Raises ``BundleError`` for a bundle without operating points, ``ConfigError`` for a policy or
    a point that is not there.
    """

    def __init__(
        self, manifest: Manifest, settings: BudgetSettings, policy: Policy | None = None
    ) -> None:
        self._settings = settings
        self._ladder = Ladder(manifest, settings.overhead_bytes)
        self._usual = self._ladder.check(_usual(manifest, settings))
        self._policy = policy or make_policy(settings, self._usual)
        marked = policy is None and settings.policy == "robust"
        self._most = self._ladder.check(_most(manifest, settings, marked=marked))
        self._unacknowledged = Unacknowledged()
        self._trips = Trips()
        self._cloud = CloudBound()
        self._pace = FrameInterval(settings.interval_s)  # of all cameras: they share the link
        self._cameras: dict[str, _Camera] = {}
        self._connected = True
        self._now_s = 0.0
        self._live_s = math.inf  # when the last live frame was sent, or the stream began

    def connected(self, now_s: float) -> None:
        """A new stream: what is said again on it is told anew by ``sent``, and the cloud, which
        may be another, says its bounds anew.
        """
        self._tick(now_s)
        self._forget()
        self._cloud.set(0, "")
        self._connected = True
        self._live_s = self._now_s

    def lost_connection(self, now_s: float) -> None:
        """What was sent and not acknowledged is no longer under way."""
        self._tick(now_s)
        self._forget()
        self._connected = False

    def bounded(self, frames_per_minute: int, reason: str, phase: float = 0.0) -> None:
        """The cloud's bound as it says it: 0 does not bind. ``phase``: of 0..1, by chance, so that
        not all edges that hear of a bound send their next frame at once.
        """
        self._cloud.set(frames_per_minute, reason, phase)

    def sent(
        self,
        sequence: int,
        packet_bytes: int,
        now_s: float,
        *,
        camera: str,
        number: int | None,
        unix_s: float = math.nan,
    ) -> None:
        """A packet was handed to the connection. ``number``: of its point, where its decision was
        live; None for what comes from the spool. ``unix_s``: NaN: as it was told last.
        """
        now_s = self._tick(now_s)
        wire_bytes = self._ladder.on_wire(packet_bytes)
        self._unacknowledged.add(Sent(sequence, packet_bytes, wire_bytes, now_s, number))
        cap = self._camera(camera).cap
        cap.at(unix_s)
        cap.spend(wire_bytes)
        if number is not None:
            self._live_s = now_s
            self._cloud.sent(now_s)

    def acknowledged(self, sequence: int, received_unix_ms: int, now_s: float) -> None:
        """The cloud has it. Sequences that are not under way are ignored."""
        now_s = self._tick(now_s)
        packet = self._unacknowledged.take(sequence)
        if packet is None:
            return
        self._unacknowledged.forget_before(packet.sent_s - OVERTAKING_S)
        if packet.number is not None:
            self._ladder.learn(packet.number, packet.packet_bytes)
        trip = self._trips.measure(packet.sent_s, received_unix_ms, now_s)
        self._policy.delivered(
            Delivery(
                packet.wire_bytes,
                now_s,
                trip.round_trip_s,
                trip.least_round_trip_s,
                trip.service_s,
            )
        )

    def refused(self, sequence: int) -> None:
        """The cloud refused the packet, or nobody waits for it any more."""
        self._unacknowledged.take(sequence)

    def decide(self, now_s: float, unix_s: float, camera: str, *, again: bool = False) -> Decision:
        """Of the next frame, before it is encoded. Raises ``LimitExceeded`` for too many cameras.

        ``again``: of a frame that was decided on already, and waited for the link.
        ``sent`` follows where its packet was sent, before the next decision of this camera:
        otherwise the day's cap may be exceeded by the packets between.
        """
        now_s = self._tick(now_s)
        state = self._camera(camera)
        if not again:
            for pace in (self._pace, state.pace):
                pace.tick(now_s)
        state.cap.at(unix_s)
        kept_back = self._kept_back(now_s, state)
        if kept_back is not None:
            return self._spooled(camera, *kept_back)
        allowed, bound = self._allowed(state)
        if self._shut(now_s):
            return self._gate_probe(camera, allowed[0])
        choice = self._policy.choose(self._moment(now_s, allowed))
        return self._live(camera, choice, bound if choice.number == allowed[-1] else None)

    def spare_bytes(self, now_s: float, unix_s: float, camera: str) -> float:
        """Bytes of ``camera``'s spooled packets that may be sent now, headers included, without
        delaying live frames: what is left of the time until the next frame, once that has its
        place and nothing is under way for longer than it should be. Nothing while the cloud bounds
        frames; a frame's worth while nothing live goes, also where little is known of the link; no
        bound where the policy measures nothing.
        """
        now_s = self._tick(now_s)
        state = self._camera(camera)
        state.cap.at(unix_s)
        if not self._connected or self._cloud.frames_per_minute is not None:
            return 0.0
        room = self._spool_room(now_s, self._moment(now_s, (0,)))
        return max(min(room, state.cap.left_bytes), 0.0)

    def spare_bytes_per_s(self, now_s: float, unix_s: float, camera: str) -> float:
        """``spare_bytes`` as a rate."""
        return self.spare_bytes(now_s, unix_s, camera) / self._pace.interval_s

    @property
    def rate_bytes_per_s(self) -> float | None:
        """What the link is expected to carry, None where nothing is known."""
        return self._policy.rate

    def spent(self, unix_s: float, camera: str) -> tuple[int, int]:
        """The day, counted from 1970, and what ``camera`` has sent on it, headers included."""
        cap = self._camera(camera).cap
        cap.at(unix_s)
        return cap.day, cap.used_bytes

    def restore(self, camera: str, day: int, used_bytes: int) -> None:
        """What ``camera`` sent on a day before this controller began."""
        self._camera(camera).cap.restore(day, used_bytes)

    def _spool_room(self, now_s: float, moment: Moment) -> float:
        rate, usual = self._policy.rate, self._ladder.wire_bytes(self._usual)
        if rate is None and not self._policy.gated:
            return math.inf  # this policy has no view of the link
        if moment.overdue_bytes():
            return 0.0
        # No live frame shows what the link carries, or is delayed: the spool may try, a little.
        quiet = not len(self._unacknowledged) and now_s - self._live_s > self._settings.deadline_s
        least = usual if quiet else 0.0
        carries = 0.0 if rate is None else rate * moment.interval_s
        if rate is None or carries < SPOOL_ROOM * self._ladder.wire_bytes(0):
            return least
        return max(carries - moment.backlog_bytes(rate) - usual, least)

    def _kept_back(self, now_s: float, state: _Camera) -> tuple[Bound, str] | None:
        """Why the frame is not sent now, None where it is."""
        cap = self._settings.bytes_per_day
        if not self._connected:
            return "connection", reasons.CONNECTION
        if cap is not None and state.cap.reached:
            return "cap", reasons.of_cap(cap)
        frames = self._cloud.frames_per_minute
        if frames is not None and not self._cloud.takes_frame(now_s):
            return "cloud", reasons.of_cloud(frames, self._cloud.reason)
        if self._shut(now_s):
            self._policy.interrupted()
            newest = self._unacknowledged.newest()
            if newest is not None and now_s - newest.sent_s < self._settings.probe_every_s:
                return "age", reasons.of_age(self._oldest_s(), self._settings.deadline_s)
        return None

    def _allowed(self, state: _Camera) -> tuple[tuple[int, ...], Bound | None]:
        """The points that settings and cap leave, and which of them took the best away."""
        within = self._within()
        share = state.cap.share_bytes(state.pace.interval_s)
        cheap = [n for n in within if self._ladder.wire_bytes(n) <= share] or within[:1]
        if cheap != within:
            return tuple(cheap), "cap"
        return tuple(within), "max_point" if len(within) < len(self._ladder.points) else None

    def _within(self) -> list[int]:
        """Likewise, of the settings alone."""
        return list(range(self._most + 1))

    def _moment(self, now_s: float, allowed: tuple[int, ...]) -> Moment:
        return Moment(
            now_s=now_s,
            interval_s=self._pace.interval_s,
            deadline_s=self._settings.deadline_s,
            least_round_trip_s=self._trips.least_round_trip_s,
            unacknowledged=self._unacknowledged,
            ladder=self._ladder,
            allowed=allowed,
        )

    def _live(self, camera: str, choice: Choice, bound: Bound | None) -> Decision:
        """``bound``: what the chosen point was limited by, where that is not the policy's."""
        rate = self._policy.rate
        number = choice.number
        if bound == "cap":
            reason = reasons.of_share(number, self._cameras[camera].cap.left_bytes)
        elif bound == "max_point":
            asked = self._settings.max_point is not None
            reason = reasons.of_max_point(number, len(self._ladder.points), asked=asked)
        else:
            bound = choice.bound
            points = len(self._ladder.points)
            reason = reasons.of_point(bound, number, points, rate, choice.backlog_bytes)
        return self._decision(True, camera, number, bound, reason, choice)

    def _gate_probe(self, camera: str, number: int) -> Decision:
        choice = Choice(number, "probe", self._unacknowledged.wire_bytes)
        reason = reasons.of_gate_probe(number, self._oldest_s())
        return self._decision(True, camera, number, "probe", reason, choice)

    def _spooled(self, camera: str, bound: Bound, reason: str) -> Decision:
        """The link does not matter to a frame of the spool: it takes the usual point."""
        number = min(self._usual, self._most)
        choice = Choice(number, bound, self._unacknowledged.wire_bytes)
        return self._decision(False, camera, number, bound, reason, choice)

    def _decision(
        self, live: bool, camera: str, number: int, bound: Bound, reason: str, choice: Choice
    ) -> Decision:
        return Decision(
            live=live,
            camera=camera,
            number=number,
            point=self._ladder.points[number],
            bound=bound,
            reason=reason,
            policy=self._policy.name,
            rate_bytes_per_s=self._policy.rate,
            backlog_bytes=choice.backlog_bytes,
            room_bytes=choice.room_bytes,
            wire_bytes=self._ladder.wire_bytes(number),
            oldest_s=self._oldest_s(),
        )

    def _shut(self, now_s: float) -> bool:
        """The age gate."""
        return self._policy.gated and self._oldest_s() > self._settings.deadline_s

    def _oldest_s(self) -> float:
        oldest = self._unacknowledged.oldest()
        return 0.0 if oldest is None else self._now_s - oldest.sent_s

    def _camera(self, name: str) -> _Camera:
        if name not in self._cameras:
            if len(self._cameras) >= MOST_CAMERAS:
                raise LimitExceeded(f"more than {MOST_CAMERAS} cameras in one budget")
            pace = FrameInterval(self._settings.interval_s)
            self._cameras[name] = _Camera(pace, DailyCap(self._settings.bytes_per_day))
        return self._cameras[name]

    def _tick(self, now_s: float) -> float:
        """The time, never NaN, and never before what is remembered."""
        if abs(now_s) < CLOCK_BOUND_S:
            if now_s < self._now_s - CLOCK_SLACK_S:
                self._forget()
                self._cloud.restart()
                self._live_s = now_s
                self._now_s = now_s
            self._now_s = max(self._now_s, now_s)
        return self._now_s

    def _forget(self) -> None:
        self._unacknowledged.clear()
        self._trips.clear()
        self._policy.interrupted()


def _usual(manifest: Manifest, settings: BudgetSettings) -> int:
    """The user's point, the bundle's own, or its best."""
    if settings.point is not None:
        return settings.point
    own = manifest.selection.point
    return len(manifest.points) - 1 if own is None else own


def _most(manifest: Manifest, settings: BudgetSettings, *, marked: bool) -> int:
    """The best point that the settings allow. ``marked``: the bundle's mark counts."""
    best = len(manifest.points) - 1
    if isinstance(settings.max_point, int):
        return settings.max_point
    flat = manifest.selection.flat_from
    if settings.max_point == "best" or flat is None or not marked:
        return best
    return max(flat, settings.point or 0)
