"""The gRPC servers: put the servicers together, start them, and stop them in good order.

Each address has a server of its own, with its own bounds on connections and calls: what strangers
do where applications are served leaves the devices' server as it is.
"""

from __future__ import annotations

import asyncio
import logging

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from saccade.errors import ConfigError, Unreachable
from saccade.v1 import fleet_pb2, vision_pb2
from saccade.v1.fleet_pb2_grpc import add_FleetServicer_to_server
from saccade.v1.vision_pb2_grpc import add_VisionServicer_to_server
from saccade_cloud.access import Access
from saccade_cloud.admission import Admission, Shares
from saccade_cloud.api_keys import ApiKeys
from saccade_cloud.arrivals import Arrivals
from saccade_cloud.cloud_context import CloudContext
from saccade_cloud.fleet_service import Fleet
from saccade_cloud.health import Health
from saccade_cloud.refusal_counts import hear_grpc
from saccade_cloud.server_settings import Address, ServerSettings, channel_options
from saccade_cloud.unregistered import new_server
from saccade_cloud.vision_service import Vision

log = logging.getLogger(__name__)

SERVICES = (
    vision_pb2.DESCRIPTOR.services_by_name["Vision"].full_name,
    fleet_pb2.DESCRIPTOR.services_by_name["Fleet"].full_name,
)
HEALTH_SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
# An InferRequest holds a hello and a question beside its packet.
ENVELOPE_BYTES = 64 * 1024
REFUSING = 512  # calls that end at once with a refusal, beside those that have a place


class CloudServer:
    """A cloud on one or two addresses. Use: ``start``, then ``wait``; ``stop`` from a signal
    handler.
    """

    def __init__(self, cloud: CloudContext) -> None:
        hear_grpc()
        settings = cloud.settings
        self._cloud = cloud
        self._apps: Address | None = None
        self._health = Health(SERVICES, settings.health_watch_s)
        self._shares = Shares(settings)
        api_keys = None if settings.api_keys is None else ApiKeys(settings.api_keys)
        self._devices_server = self._server(Access(api_keys, certified=settings.certified))
        self._apps_server = None
        if settings.apps is not None:
            access = Access(api_keys, certified=settings.certified, devices=False)
            self._apps_server = self._server(access)

    @property
    def apps(self) -> Address | None:
        """Where applications are served without a certificate, once started."""
        return self._apps

    @property
    def shares(self) -> Shares:
        """Who holds how much of it, for tests and reports."""
        return self._shares

    async def start(self) -> Address:
        """Listen; the address with the real port. Raises ``ConfigError`` when it is taken."""
        settings = self._cloud.settings
        settings.check()
        if settings.risk:
            log.warning("%s", settings.risk)
        address = self._listen(
            self._devices_server, settings.address, ask_client=settings.certified
        )
        await self._devices_server.start()
        if self._apps_server is not None and settings.apps is not None:
            self._apps = self._listen(self._apps_server, settings.apps, ask_client=False)
            await self._apps_server.start()
        self._health.started()
        return address

    async def wait(self) -> None:
        """Until the server has stopped."""
        await self._devices_server.wait_for_termination()

    async def stop(self) -> None:
        """Say NOT_SERVING, let running answers end (at most ``drain_s``), then close all."""
        self._health.stopped()
        self._cloud.stopping.set()
        self._cloud.broadcast.close(Unreachable("the cloud is stopping"))
        servers = (self._devices_server, self._apps_server)
        drain_s = self._cloud.settings.drain_s
        await asyncio.gather(*(server.stop(drain_s) for server in servers if server is not None))
        await self._cloud.close()

    def _server(self, access: Access) -> grpc.aio.Server:
        cloud, settings = self._cloud, self._cloud.settings
        devices = access.devices
        connections = settings.device_connections if devices else settings.application_connections
        server = new_server(
            channel_options(cloud.bundles.message_bytes + ENVELOPE_BYTES, connections),
            [
                Admission(
                    access,
                    self._shares,
                    Arrivals(settings.silent_calls),
                    settings.hello_timeout_s,
                )
            ],
            most_calls(settings, devices=devices),
        )
        add_VisionServicer_to_server(Vision(cloud), server)
        add_FleetServicer_to_server(Fleet(cloud), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (*SERVICES, HEALTH_SERVICE, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        return server

    def _listen(self, server: grpc.aio.Server, address: Address, *, ask_client: bool) -> Address:
        address.check_free()
        tls = self._cloud.settings.tls
        try:
            if tls is None:
                port = server.add_insecure_port(str(address))
            else:
                credentials = tls.credentials(ask_client=ask_client)
                port = server.add_secure_port(str(address), credentials)
        except RuntimeError as error:  # taken since we looked
            raise ConfigError(f"cannot listen on {address}: {error}") from error
        return Address(address.host, port)


def most_calls(settings: ServerSettings, *, devices: bool) -> int:
    """Calls at once that gRPC itself lets in at one address: all places, so that it never refuses
    one which has a place. A bound of gRPC's own knows no kinds.
    """
    places = settings.application_calls + settings.health_watches + settings.silent_calls
    return places + REFUSING + (settings.streams if devices else 0)
