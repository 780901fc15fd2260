"""``saccade cloud health``: whether a cloud serves, for container health checks and monitors."""

from __future__ import annotations

import argparse

import grpc
from grpc_health.v1 import health_pb2

from saccade import tls
from saccade.channel import channel_options, check_address
from saccade.errors import Unreachable

TIMEOUT_S = 5.0
MESSAGE_BYTES = 4096  # a status is a few bytes


def register_health(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``saccade cloud health``."""
    health = commands.add_parser(
        "health", help="ask a cloud whether it serves; exit status 0 if it does"
    )
    health.add_argument(
        "--cloud", default="127.0.0.1:7860", metavar="HOST:PORT", help="(default %(default)s)"
    )
    health.add_argument(
        "--timeout", type=float, default=TIMEOUT_S, metavar="SECONDS", help="(default %(default)g)"
    )
    tls.add_arguments(health)
    health.set_defaults(run=_health)


def _health(arguments: argparse.Namespace) -> int:
    files = tls.from_arguments(arguments)
    check_address(arguments.cloud, plain=files is None, insecure=arguments.insecure)
    status = health_of(arguments.cloud, files, arguments.timeout)
    print(status)
    return 0 if status == "SERVING" else 1


def health_of(cloud: str, files: tls.ClientTls | None, timeout_s: float) -> str:
    """The status that gRPC's health service states: "SERVING", "NOT_SERVING" or "UNKNOWN".

    Raises ``ConfigError`` for an unusable address and ``Unreachable`` where nobody answers.
    """
    with _channel(cloud, files) as channel:
        # By its name: the generated stub has no types.
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            reply = check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError as error:
            reason = error.details() if isinstance(error, grpc.Call) else str(error)
            raise Unreachable(f"{cloud} does not answer: {reason}") from error
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))


def _channel(cloud: str, files: tls.ClientTls | None) -> grpc.Channel:
    options = channel_options(cloud, MESSAGE_BYTES)
    if files is None:
        return grpc.insecure_channel(cloud, options)
    return grpc.secure_channel(cloud, files.credentials(), options)
