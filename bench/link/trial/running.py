"""One trial: a cloud process, a link, an edge process, and what the edge tells until its end."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.link.proxy import LinkProxy
from bench.link.running import running_link
from bench.link.trial.account import Account
from bench.link.trial.edge import EdgePlan
from bench.link.trial.fates import Trial
from bench.link.trial.foresight import wire_bytes
from bench.link.trial.stretch import LEAD_S, Stretch
from bench.link.wire import Shape
from saccade.errors import RemoteError
from saccade.manifest import OperatingPoint
from saccade_demo.processes import Process, address_of, running
from saccade_edge.budget import BudgetSettings

SILENCE_S = 90.0


@dataclass(frozen=True, slots=True)
class Arm:
    """``points``: of the codec's qualities where pictures go instead of tokens, else the bundle's,
    whose agreement is a point's quality.
    """

    name: str
    policy: str
    codec: str
    points: tuple[OperatingPoint, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """The same for all trials of a run."""

    bundle: str
    clip: str
    fps: float
    deadline_s: float


def trial(arm: Arm, stretch: Stretch, setting: Setting) -> Trial:
    """Takes as long as the stretch and half a minute. Call it in a process's main thread. Raises
    ``RemoteError`` where a process fails or frames are missing.
    """
    with tempfile.TemporaryDirectory(prefix="saccade-trial-") as folder:
        words, module = _cloud(arm, setting, Path(folder))
        with running("cloud", words, module) as cloud:
            address = address_of(cloud)
            proxy = LinkProxy(address, Shape(stretch.trace, stretch.trace.delay_s))
            with running_link(proxy) as link:
                link_unix_s = time.time() - link.report()["link_s"]
                plan = _plan(arm, stretch, setting, link.address, Path(folder), link_unix_s)
                path = Path(folder) / "plan.json"
                plan.write(path)
                with running("edge", (str(path),), "bench.link.trial.edge") as edge:
                    account = _account(edge, plan)
                    if failure := edge.failure() or account.failure():
                        raise RemoteError(f"{arm.name} over {stretch.name}: {failure}")
                passed = link.report()["up"]["bytes"]
    return _trial(account, arm, stretch, plan, passed)


def _cloud(arm: Arm, setting: Setting, folder: Path) -> tuple[tuple[str, ...], str]:
    store = str(folder / "store.db")
    if arm.codec:
        return (store, f"--bundle={setting.bundle}"), "bench.link.trial.picture_cloud"
    serve = ("cloud", "serve", "--listen=127.0.0.1:0", f"--bundle={setting.bundle}")
    # The link is what is tried, not the engine, which a loaded machine may slow.
    return (*serve, f"--store={store}", "--answer-wait=0"), "saccade"


def _plan(
    arm: Arm, stretch: Stretch, setting: Setting, address: str, folder: Path, link_unix_s: float
) -> EdgePlan:
    trace = stretch.trace
    return EdgePlan(
        cloud=address,
        bundle=setting.bundle,
        clip=setting.clip,
        spool=str(folder / "edge.spool"),
        policy=arm.policy,
        codec=arm.codec,
        points=arm.points if arm.codec else (),
        frames=round(stretch.seconds * setting.fps),
        fps=setting.fps,
        deadline_s=setting.deadline_s,
        begin_unix_s=link_unix_s + LEAD_S,
        link_unix_s=link_unix_s,
        times_s=tuple(trace.times_s.tolist()),
        through=tuple(trace.through.tolist()),
        delay_s=trace.delay_s,
    )


def _account(edge: Process, plan: EdgePlan) -> Account:
    """Of all that the edge tells until it ends."""
    account = Account(plan.frames, 1 / plan.fps, plan.begin_unix_s)
    while line := edge.line(SILENCE_S):
        account.hear(json.loads(line[1]))
    return account


def _trial(
    account: Account, arm: Arm, stretch: Stretch, plan: EdgePlan, passed_bytes: int
) -> Trial:
    smallest = wire_bytes(min(p.bytes for p in arm.points), BudgetSettings().overhead_bytes)
    within_s = plan.deadline_s - 2 * plan.delay_s
    return Trial(
        arm=arm.name,
        link=stretch.name,
        deadline_s=plan.deadline_s,
        frames=tuple(account.frames),
        waiting=account.waiting,
        lost=account.lost,
        wire_bytes=passed_bytes,
        within_reach=stretch.within_reach(plan.frames, 1 / plan.fps, round(smallest), within_s),
        outages=tuple(stretch.outages()),
        qualities=tuple(point.agreement for point in arm.points),
    )
