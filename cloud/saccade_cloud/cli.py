"""``saccade cloud``: the server on the command line."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from threadpoolctl import threadpool_limits

from saccade.bundle import Bundle, named_or_demo
from saccade.files import write_private
from saccade.logs import log_to_stderr
from saccade.paths import expand
from saccade.tasks import ending_signals
from saccade_cloud.api_keys import add_api_key
from saccade_cloud.assemble import needs_of, open_cloud
from saccade_cloud.descriptors import allow_descriptors
from saccade_cloud.engines import registry
from saccade_cloud.engines.base import Engine
from saccade_cloud.engines.registry import EngineOptions
from saccade_cloud.health_cli import register_health
from saccade_cloud.packet_keys import PacketKeys, add_key
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
        "--bundle", action="append", metavar="PATH|NAME",
        help="the same as the edges'; again for edges with another (default: the demo's)",
    )  # fmt: skip
    _add_engine(serve)
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
    _add_packet_key(commands)
    register_store(commands)
    register_health(commands)


def _add_packet_key(commands: Any) -> None:  # noqa: ANN401 - argparse keeps its type private
    key = commands.add_parser("packet-key", help="make a key with which a device signs its packets")
    key.add_argument("device", metavar="DEVICE", help="its name, as its hello says it")
    key.add_argument(
        "--packet-keys", required=True, metavar="FILE", help="where the cloud finds it"
    )
    key.add_argument(
        "--out", required=True, metavar="FILE", help="a new file with it, for saccade edge run"
    )
    key.set_defaults(run=_packet_key)


def _packet_key(arguments: argparse.Namespace) -> int:
    """Nothing is printed that somebody else should not see."""
    path, out = expand(arguments.packet_keys), expand(arguments.out)
    add_key(path, arguments.device, out)
    print(
        f"{path} and {out} have the key of {arguments.device}: start the cloud again with "
        f"--packet-keys {path}, and the device with --packet-key {out}",
        file=sys.stderr,
    )
    return 0


def _add_engine(serve: argparse.ArgumentParser) -> None:
    usual = EngineOptions()
    serve.add_argument(
        "--engine", default=registry.DEFAULT, metavar="NAME",
        help=f"what runs the language model: {', '.join(registry.names())} (default %(default)s)",
    )  # fmt: skip
    serve.add_argument(
        "--checkpoint", action="append", default=[], metavar="DIR",
        help="where a bundle's language model is, if it is not in the bundle; again for others",
    )  # fmt: skip
    serve.add_argument("--threads", type=_positive, default=1, help="of the language model")
    serve.add_argument(
        "--device", default=usual.device, help="as torch names it (default %(default)s)"
    )
    serve.add_argument(
        "--dtype", default=usual.dtype, help="f32, f16, bf16; auto: as stored (default %(default)s)"
    )


def _engine_options(arguments: argparse.Namespace) -> EngineOptions:
    return EngineOptions(
        threads=arguments.threads,
        checkpoints=tuple(expand(folder) for folder in arguments.checkpoint),
        device=arguments.device,
        dtype=arguments.dtype,
    )


def _add_memory(serve: argparse.ArgumentParser) -> None:
    """Recent frames, for questions about them; they are lost when the cloud ends."""
    usual = ServerSettings()
    serve.add_argument(
        "--frame-bytes", type=size_in_bytes, default=usual.frame_bytes, metavar="SIZE",
        help="memory for the frames of all devices, as in 500M (default %(default)s)",
    )  # fmt: skip
    serve.add_argument(
        "--device-frame-bytes", type=size_in_bytes, default=usual.device_frame_bytes,
        metavar="SIZE", help="memory for the frames of one device (default %(default)s)",
    )  # fmt: skip
    serve.add_argument(
        "--decoded-bytes", type=size_in_bytes, default=usual.decoded_bytes, metavar="SIZE",
        help="memory for frames as questions need them, decoded (default %(default)s)",
    )  # fmt: skip
    serve.add_argument(
        "--device-decoded-bytes", type=size_in_bytes, default=usual.device_decoded_bytes,
        metavar="SIZE", help="the same, of one device (default %(default)s)",
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
    serve.add_argument(
        "--packet-keys", metavar="FILE", help="of devices: see saccade cloud packet-key"
    )
    serve.add_argument(
        "--require-packet-keys", action="store_true",
        help="refuse packets of devices that have no key (default: only wrong and missing tags of "
        "those that have one)",
    )  # fmt: skip
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
    bundles = [Bundle.open(name) for name in arguments.bundle or [named_or_demo(None)]]
    keys = PacketKeys.read(
        expand(arguments.packet_keys) if arguments.packet_keys else None,
        required=arguments.require_packet_keys,
    )
    store = StoreOptions.of(arguments)
    # Packets hold small matrices: under load BLAS threads that wait for each other are slower.
    sys.setswitchinterval(SWITCH_S)
    with threadpool_limits(1, "blas"):
        engine = _Engine(arguments.engine, _engine_options(arguments))
        asyncio.run(_serve_until_signal(bundles, settings, engine, store, keys))
    return 0


@dataclass(frozen=True, slots=True)
class _Engine:
    """The chosen one, for each bundle."""

    name: str
    options: EngineOptions

    def open(self, bundle: Bundle) -> Engine:
        return registry.open_engine(self.name, bundle, needs_of(bundle.manifest), self.options)


def _settings(arguments: argparse.Namespace) -> ServerSettings:
    return ServerSettings(
        address=Address.parse(arguments.listen),
        insecure=arguments.insecure,
        tls=ServerTls.of(arguments.tls_cert, arguments.tls_key, arguments.tls_client_ca),
        apps=Address.parse(arguments.apps) if arguments.apps else None,
        api_keys=expand(arguments.api_keys) if arguments.api_keys else None,
        quota=Quota(messages_per_s=arguments.device_messages, bytes_per_s=arguments.device_bytes),
        frame_bytes=arguments.frame_bytes,
        device_frame_bytes=arguments.device_frame_bytes,
        decoded_bytes=arguments.decoded_bytes,
        device_decoded_bytes=arguments.device_decoded_bytes,
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
    bundles: Sequence[Bundle],
    settings: ServerSettings,
    engine: _Engine,
    options: StoreOptions,
    keys: PacketKeys,
) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in ending_signals():
        loop.add_signal_handler(number, stopped.set)
    engines = [(bundle, engine.open(bundle)) for bundle in bundles]
    store = options.open(settings.store_timeout_s)
    server = CloudServer(open_cloud(engines, settings, store, keys))
    address = await server.start()
    for bundle in bundles:
        digest = bundle.token_digest.hex()[:12]
        print(f"serving {bundle.manifest.name} (digest {digest}) on {address}", flush=True)
    if server.apps is not None:
        print(f"serving applications on {server.apps}", flush=True)
    if store.durable:
        print(options, flush=True)
    for bundle in bundles:
        whose = f"{bundle.manifest.name}: " if len(bundles) > 1 else ""
        print(f"{whose}trained for {bundle.manifest.domain}", flush=True)
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
