"""What gRPC logs of a peer's fault is counted; a defect of ours keeps its traceback."""

from __future__ import annotations

import logging
import sys

import pytest

from saccade_cloud.refusal_counts import REFUSALS, hear_grpc

GRPC = logging.getLogger("grpc._cython.cygrpc")


@pytest.mark.parametrize(
    ("source", "shown"),
    [("src/python/grpcio/grpc/_cython/server.pyx", 0), ("saccade_cloud/fleet_service.py", 1)],
)
def test_an_assertion_inside_grpc_is_a_broken_call_and_one_of_ours_a_defect(
    source: str, shown: int, caplog: pytest.LogCaptureFixture
) -> None:
    hear_grpc()
    before = REFUSALS.counts["broken call"]
    try:
        exec(compile("assert False", source, "exec"))
    except AssertionError:
        GRPC.error("Unexpected [AssertionError]", exc_info=sys.exc_info())
    assert len([record for record in caplog.records if record.exc_info]) == shown
    assert REFUSALS.counts["broken call"] == before + 1 - shown
