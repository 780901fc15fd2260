"""``saccade cloud``: the server on the command line."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal

from saccade.bundle import Bundle
from saccade_cloud.assemble import open_engine, open_hub
from saccade_cloud.descriptors import allow_descriptors
from saccade_cloud.server import CloudServer
from saccade_cloud.settings import Address, ServerSettings


def register(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands of ``saccade cloud``."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    serve = commands.add_parser("serve", help="receive tokens and answer questions")
    serve.add_argument("--listen", default="127.0.0.1:7860", metavar="HOST:PORT")
    serve.add_argument("--bundle", default="crossing", metavar="PATH|NAME")
    serve.add_argument("--threads", type=_positive, default=1, help="of the language model")
    serve.add_argument("--frames", type=_positive, default=16, help="kept in memory per camera")
    serve.add_argument(
        "--drain", type=float, default=10.0, metavar="SECONDS", help="wait for running answers"
    )
    serve.add_argument(
        "--insecure", action="store_true", help="allow plain text beyond this machine"
    )
    serve.add_argument("--verbose", action="store_true", help="log refused calls too")
    serve.set_defaults(run=_serve)


def _serve(arguments: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    settings = ServerSettings(
        address=Address.parse(arguments.listen),
        insecure=arguments.insecure,
        frames_per_camera=arguments.frames,
        drain_s=arguments.drain,
    )
    settings.check()
    allow_descriptors()
    bundle = Bundle.open(arguments.bundle)
    asyncio.run(_serve_until_signal(bundle, settings, arguments.threads))
    return 0


async def _serve_until_signal(bundle: Bundle, settings: ServerSettings, threads: int) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    server = CloudServer(open_hub(bundle, open_engine(bundle, threads=threads), settings))
    address = await server.start()
    manifest = bundle.manifest
    print(f"serving {manifest.name} (digest {manifest.digest[:12]}) on {address}", flush=True)
    await stopped.wait()
    await server.stop()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number
