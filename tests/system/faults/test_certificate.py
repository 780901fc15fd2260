"""A certificate that expires while the edge is offline."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from saccade.tls import ClientTls
from saccade_testing.certificates import Authority
from saccade_testing.fault_scene import Scene, play
from saccade_testing.journal import handed, told

LASTS_S = 12  # long enough to connect with, on a slow machine too


def installed(tls: ClientTls, folder: Path) -> ClientTls:
    """A copy at places where a renewal will replace it."""
    places = replace(tls, cert=folder / "edge.pem", key=folder / "edge.key")
    for source, place in ((tls.key, places.key), (tls.cert, places.cert)):
        assert source
        assert place
        shutil.copy(source, place.with_suffix(".new"))
        place.with_suffix(".new").replace(place)
    return places


def test_an_edge_whose_certificate_expired_offline_says_so_and_delivers_after_its_renewal(
    scene: Scene, authority: Authority, tmp_path: Path
) -> None:
    cert, key, ca = map(str, authority.server)
    words = ("--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ca)

    async def story() -> None:
        with scene.cloud(*words) as (_, address):
            short = authority.odd("kerb", ends=timedelta(seconds=LASTS_S))
            plan = scene.plan(address, tls=installed(short, tmp_path), every_s=0.05)
            async with plan.start() as edge:
                await edge.until(lambda j: j.count("Connected") == 1 and len(j.handed) > 20)
                scene.stop_cloud()
                await asyncio.sleep(LASTS_S)
                with scene.cloud(*words, "--listen", address):
                    await edge.until(lambda j: j.count("ConnectionLost", "expired on") > 0)
                    before = len(edge.journal.handed)
                    await edge.until(handed(before + 40))
                    assert edge.journal.count("Connected") == 1
                    installed(authority.device(), tmp_path)
                    await edge.until(told("Connected", 2))
                    await edge.end("stop")
                    async with replace(plan, every_s=0.0).start() as edge:
                        await edge.end("drain")
        figures = scene.examine("certificate expired offline", plan)
        assert figures.captured > 200
        assert (figures.in_spool, figures.lost) == (0, 0)

    play(story)
