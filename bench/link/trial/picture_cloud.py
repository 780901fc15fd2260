"""The cloud of the picture pipelines: decodes pictures, encodes their views, answers.

    python -m bench.link.trial.picture_cloud STORE [--bundle crossing]

Server, store, engine and answering are the product's; only what a packet holds differs. The model
is `bench/baselines/pixels`, trained on pictures as codecs leave them. The handshake is about the
edge's bundle, whose detector finds the views.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.link.trial.pictures import tokens_of
from saccade.bundle import Bundle
from saccade.limits import Limits
from saccade.types import FrameTokens
from saccade.v1 import tokens_pb2, vision_pb2
from saccade_cloud.assemble import memory_frames, open_answerer, open_engine
from saccade_cloud.hub import Hub
from saccade_cloud.server import CloudServer
from saccade_cloud.server_settings import Address, ServerSettings
from saccade_cloud.store.store_opening import open_store
from saccade_edge.encode import Encoder
from saccade_edge.onnx_model import RuntimeSettings

PIXELS = Path(__file__).parents[2] / "baselines" / "pixels"
LOOKED = 64  # pictures, more than may be in flight


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PictureHub(Hub):
    """``encoder``: of the model that answers. ``looked``: tokens of the newest pictures, so that a
    question costs no second look, which tokens would not need.
    """

    encoder: Encoder
    looked: OrderedDict[tuple[int, int], FrameTokens] = field(default_factory=OrderedDict)

    async def _decode(
        self,
        packet: tokens_pb2.FramePacket,
        hello: vision_pb2.Hello,
        packet_bytes: int,
        client: str,
    ) -> tuple[FrameTokens, float, float]:
        """See ``Hub``; the stage ``decode`` is picture and encoder."""
        key = (hello.boot, packet.sequence)
        if (known := self.looked.get(key)) is not None:
            now_s = time.perf_counter()
            return known, now_s, now_s
        loop = asyncio.get_running_loop()
        seen = await loop.run_in_executor(self.unpacking, partial(self._seen, packet, hello))
        self.looked[key] = seen[0]
        while len(self.looked) > LOOKED:
            self.looked.popitem(last=False)
        return seen

    def _seen(
        self, packet: tokens_pb2.FramePacket, hello: vision_pb2.Hello
    ) -> tuple[FrameTokens, float, float]:
        started = time.perf_counter()
        tokens = tokens_of(
            packet,
            self.limits,
            self.encoder,
            camera=hello.cameras[0],
            epoch_unix_ms=hello.epoch_unix_ms,
        )
        return tokens, started, time.perf_counter()


async def serve(ours: Bundle, store: str) -> None:
    """Until SIGINT or SIGTERM."""
    pixels = Bundle.open(PIXELS)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    settings = ServerSettings(Address("127.0.0.1", 0), answer_wait_s=0)
    hub = PictureHub(
        digest=ours.digest,
        limits=Limits.of(ours.manifest),
        answerer=open_answerer(pixels, open_engine(pixels)),
        frames=memory_frames(settings),
        settings=settings,
        store=open_store(store, timeout_s=settings.store_timeout_s),
        encoder=Encoder(pixels, RuntimeSettings(threads=1)),
    )
    server = CloudServer(hub)
    address = await server.start()
    print(f"serving pictures on {address}", flush=True)
    await stopped.wait()
    await server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", help="a path")
    parser.add_argument("--bundle", default="crossing", help="the edge's")
    options = parser.parse_args()
    asyncio.run(serve(Bundle.open(options.bundle), options.store))


if __name__ == "__main__":
    main()
