"""``saccade cloud``: the server on the command line."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

from threadpoolctl import threadpool_limits

from saccade.bundle import Bundle
from saccade.files import write_private
from saccade.logs import log_to_stderr
from saccade.paths import expand
from saccade.tasks import ending_signals
from saccade_cloud.api_keys import add_api_key
from saccade_cloud.assemble import open_engine, open_hub
from saccade_cloud.descriptors import allow_descriptors
from saccade_cloud.health_cli import register_health
from saccade_cloud.quotas import Quota
from saccade_cloud.server import CloudServer
from saccade_cloud.server_settings import Address, ServerSettings
from saccade_cloud.server_tls import ServerTls
from saccade_cloud.store.store_cli import (
    StoreOptions,
    register_store,
    size_in_bytes,
    store_options,
)

# How long a thread that computes keeps the interpreter from the event loop. Python's 5 ms, at every
# step of every message, add up: with 0.5 ms a busy cloud answers 40 % more questions.
SWITCH_S = 0.0005


def register(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands of ``saccade cloud``."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    serve = commands.add_parser("serve", help="receive tokens and answer questions")
    serve.add_argument(
        "--listen", default="127.0.0.1:7860", metavar="HOST:PORT", help="where edges connect to"
    )
    serve.add_argument(
        "--bundle", default="crossing", metavar="PATH|NAME", help="the same as the edges'"
    )
    serve.add_argument("--threads", type=_positive, default=1, help="of the language model")
    _add_memory(serve)
    serve.add_argument(
        "--drain", type=float, default=10.0, metavar="SECONDS", help="wait for running answers"
    )
    serve.add_argument(
        "--answer-wait", type=_wait, default=ServerSettings().answer_wait_s, metavar="SECONDS",
        help="of a camera; longer, and edges send fewer frames; 0: never (default %(default)s)",
    )  # fmt: skip
    _add_security(serve)
    serve.add_argument("--verbose", action="store_true", help="log refused calls too")
    serve.set_defaults(run=_serve)
    api_key = commands.add_parser(
        "api-key", help="make an API key for an application, print it once"
    )
    api_key.add_argument("name", metavar="NAME", help="whose it is, as the log shows it")
    api_key.add_argument(
        "--api-keys", required=True, metavar="FILE", help="where the cloud finds its hash"
    )
    api_key.add_argument(
        "--out", metavar="FILE",
        help="write it to this new file, which only you may read (default: print it)",
    )  # fmt: skip
    api_key.set_defaults(run=_api_key)
    register_store(commands)
    register_health(commands)


def _add_memory(serve: argparse.ArgumentParser) -> None:
    """Recent frames, for questions about them; they are lost when the cloud ends."""
    usual = ServerSettings()
    serve.add_argument(
        "--frames", type=_positive, default=usual.frames_per_camera, metavar="N",
        help="kept in memory per camera (default %(default)s)",
    )  # fmt: skip
    serve.add_argument(
        "--frame-bytes", type=size_in_bytes, default=usual.frame_bytes, metavar="SIZE",
        help="memory for the frames of all devices, as in 500M (default %(default)s)",
    )  # fmt: skip
    serve.add_argument(
        "--device-frame-bytes", type=size_in_bytes, default=usual.device_frame_bytes,
        metavar="SIZE", help="memory for the frames of one device (default %(default)s)",
    )  # fmt: skip


def _add_security(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("--tls-cert", metavar="FILE", help="PEM of this cloud's certificate")
    serve.add_argument("--tls-key", metavar="FILE", help="PEM of its key")
    serve.add_argument(
        "--tls-client-ca", metavar="FILE", help="PEM of the authority that signs devices"
    )
    serve.add_argument(
        "--api-keys", metavar="FILE", help="of applications: see saccade cloud api-key"
    )
    serve.add_argument(
        "--apps",
        metavar="HOST:PORT",
        help="where applications need no certificate, only an API key",
    )
    quota = Quota()
    serve.add_argument(
        "--device-messages", type=_positive, default=int(quota.messages_per_s), metavar="N",
        help="packets and questions a second of one device (default %(default)s)",
    )  # fmt: skip
    serve.add_argument(
        "--device-bytes", type=_positive, default=int(quota.bytes_per_s), metavar="N",
        help="a second of one device (default %(default)s)",
    )  # fmt: skip
    serve.add_argument(
        "--insecure", action="store_true", help="allow plain text beyond this machine"
    )
    store_options(serve)


def _serve(arguments: argparse.Namespace) -> int:
    log_to_stderr(logging.INFO if arguments.verbose else logging.WARNING)
    logging.getLogger("saccade.access").setLevel(logging.INFO)  # who asked what, always
    settings = _settings(arguments)
    settings.check()
    allow_descriptors()
    bundle = Bundle.open(arguments.bundle)
    store = StoreOptions.of(arguments)
    # Packets hold small matrices: under load BLAS threads that wait for each other are slower.
    sys.setswitchinterval(SWITCH_S)
    with threadpool_limits(1, "blas"):
        asyncio.run(_serve_until_signal(bundle, settings, arguments.threads, store))
    return 0


def _settings(arguments: argparse.Namespace) -> ServerSettings:
    return ServerSettings(
        address=Address.parse(arguments.listen),
        insecure=arguments.insecure,
        tls=ServerTls.of(arguments.tls_cert, arguments.tls_key, arguments.tls_client_ca),
        apps=Address.parse(arguments.apps) if arguments.apps else None,
        api_keys=expand(arguments.api_keys) if arguments.api_keys else None,
        quota=Quota(messages_per_s=arguments.device_messages, bytes_per_s=arguments.device_bytes),
        frames_per_camera=arguments.frames,
        frame_bytes=arguments.frame_bytes,
        device_frame_bytes=arguments.device_frame_bytes,
        drain_s=arguments.drain,
        answer_wait_s=arguments.answer_wait,
    )


def _api_key(arguments: argparse.Namespace) -> int:
    """The key alone on standard output, for ``KEY=$(saccade cloud api-key ...)``."""
    path = expand(arguments.api_keys)
    if arguments.out:
        out = expand(arguments.out)
        write_private(out, lambda: add_api_key(path, arguments.name) + "\n", "the API key")
    else:
        print(add_api_key(path, arguments.name))
    print(
        f"{path} has its hash; a cloud that serves with --api-keys {path} knows it from now on; "
        "it is not shown again",
        file=sys.stderr,
    )
    return 0


async def _serve_until_signal(
    bundle: Bundle, settings: ServerSettings, threads: int, options: StoreOptions
) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in ending_signals():
        loop.add_signal_handler(number, stopped.set)
    engine = open_engine(bundle, threads=threads)
    store = options.open(settings.store_timeout_s)
    server = CloudServer(open_hub(bundle, engine, settings, store))
    address = await server.start()
    manifest = bundle.manifest
    print(f"serving {manifest.name} (digest {manifest.digest[:12]}) on {address}", flush=True)
    if server.apps is not None:
        print(f"serving applications on {server.apps}", flush=True)
    if store.durable:
        print(options, flush=True)
    print(f"trained for {manifest.domain}", flush=True)
    await stopped.wait()
    await server.stop()


def _wait(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a time of 0 or more seconds")
    return seconds


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number
