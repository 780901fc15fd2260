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
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.link.trial.pictures import tokens_of
from saccade.bundle import Bundle
from saccade.codecs import Codecs
from saccade.limits import Limits
from saccade.v1 import tokens_pb2, vision_pb2
from saccade_cloud.assemble import open_cloud, open_engine
from saccade_cloud.cloud_context import ServedBundles
from saccade_cloud.frame_decoder import Decoded, FrameDecoder
from saccade_cloud.server import CloudServer
from saccade_cloud.server_settings import Address, ServerSettings
from saccade_cloud.store.store_opening import open_store
from saccade_edge.encode import Encoder
from saccade_edge.onnx_model import RuntimeSettings

PIXELS = Path(__file__).parents[2] / "baselines" / "pixels"


class PictureDecoder(FrameDecoder):
    """``encoder``: of the model that answers; ``limits``: of the edge's bundle. What it makes of a
    picture is cached as tokens are, so a question costs no second look.
    """

    def __init__(self, encoder: Encoder, limits: Limits) -> None:
        super().__init__()
        self._encoder = encoder
        self._own_limits = limits

    async def decode(
        self,
        packet: tokens_pb2.FramePacket,
        hello: vision_pb2.Hello,
        limits: Limits,
        codecs: Codecs,
        client: str,
    ) -> Decoded:
        """See ``FrameDecoder``; the stage ``decode`` is picture and encoder."""
        came_s = time.perf_counter()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(self._seen, packet, hello, came_s))

    def _seen(
        self, packet: tokens_pb2.FramePacket, hello: vision_pb2.Hello, came_s: float
    ) -> Decoded:
        began_s = time.perf_counter()
        tokens = tokens_of(
            packet,
            self._own_limits,
            self._encoder,
            camera=hello.cameras[0],
            epoch_unix_ms=hello.epoch_unix_ms,
        )
        return Decoded(tokens, (began_s - came_s) * 1e3, (time.perf_counter() - began_s) * 1e3)


async def serve(ours: Bundle, store: str) -> None:
    """Until SIGINT or SIGTERM."""
    pixels = Bundle.open(PIXELS)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    settings = ServerSettings(Address("127.0.0.1", 0), answer_wait_s=0)
    encoder = Encoder(pixels, RuntimeSettings(threads=1))
    cloud = open_cloud(
        [(pixels, open_engine(pixels))],
        settings,
        open_store(store, timeout_s=settings.store_timeout_s),
        decoder=PictureDecoder(encoder, Limits.of(ours.manifest)),
    )
    [served] = cloud.bundles
    edges = ServedBundles([replace(served, token_digest=ours.token_digest)])
    server = CloudServer(replace(cloud, bundles=edges))
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
