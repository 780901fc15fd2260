"""The words of ``saccade edge run``, and the settings that they come to."""

from __future__ import annotations

import argparse
import logging
import math
import os
from pathlib import Path
from typing import Literal

from saccade import codecs, question_args, tls
from saccade.client import EncodeOptions
from saccade.errors import ConfigError
from saccade.files import read_private
from saccade.packet_tag import MAX_KEY_FILE_BYTES, parse_key
from saccade.paths import expand
from saccade.redaction import remember
from saccade.selection import QUOTAS, UNGUIDED
from saccade.text import file_name, host_name
from saccade_edge.budget import POLICIES, BudgetSettings
from saccade_edge.daemon import DEADLINE_S, WatchSettings
from saccade_edge.detect import DETECTOR_HELP, DETECTORS
from saccade_edge.gate import GateSettings
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.plan import PipelineSettings
from saccade_edge.source import is_camera
from saccade_edge.source.uri import with_credentials
from saccade_edge.spool import SpoolSettings
from saccade_edge.status_cli import state_folder_of_user
from saccade_edge.status_file import beside, named
from saccade_edge.watch_budget import usual_policy

CAMERA = "camera"
MOST_CREDENTIALS_BYTES = 4096
MOST_NAME_BYTES = 200  # of a file's 255: suffixes follow

log = logging.getLogger(__name__)


def add_watch_arguments(watch: argparse.ArgumentParser) -> None:
    """Everything that ``watch_settings`` reads."""
    _add_identity(watch)
    _add_source(watch)
    _add_spool(watch)
    _add_budget(watch)
    _add_stages(watch)


def watch_settings(arguments: argparse.Namespace) -> WatchSettings:
    """Raises ``ConfigError``."""
    status = _status_settings(arguments)
    runtime = RuntimeSettings(
        tuple(arguments.provider) if arguments.provider else None, arguments.threads
    )
    pipeline = PipelineSettings(
        encode=EncodeOptions(
            detector=arguments.detector,
            method=arguments.method,
            point=arguments.point,
            tokens_per_view=arguments.tokens,
            codec=arguments.codec,
            max_crops=arguments.crops,
        ),
        quota=arguments.quota,
        layers=arguments.layers,
        overview=arguments.overview,
        images=arguments.images,
        gate=GateSettings(threshold=arguments.gate),
        runtime=runtime,
    )
    return WatchSettings(
        source=arguments.source,
        cloud=arguments.cloud,
        questions=tuple(question_args.question_of(arguments, text) for text in arguments.ask),
        camera=arguments.camera,
        device=arguments.device,
        fps=arguments.fps,
        live=arguments.live or None,
        insecure=arguments.insecure,
        tls=tls.from_arguments(arguments),
        packet_key=_packet_key(arguments.packet_key),
        patience_s=arguments.patience,
        spool=spool_settings(arguments),
        deadline_s=arguments.deadline,
        budget=_budget_settings(arguments),
        status=status,
        listed=_listed(status, arguments),
        pipeline=pipeline,
    )


def source_of(arguments: argparse.Namespace) -> str:
    """With its credentials, which the command line itself need not show to the whole machine.

    Raises ``ConfigError``.
    """
    source: str | None = arguments.source or os.environ.get("SACCADE_SOURCE")
    if not source:
        raise ConfigError("there is no source: name a SOURCE, or set SACCADE_SOURCE")
    if arguments.credentials_file:
        file = expand(arguments.credentials_file)
        credentials = read_private(file, "the camera's credentials", MOST_CREDENTIALS_BYTES)
        source = with_credentials(source, credentials)
    elif (known := os.environ.get("SACCADE_CAMERA_CREDENTIALS")) and is_camera(source):
        source = with_credentials(source, known)
    remember(source)
    return source


def _add_names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--camera", default=CAMERA, metavar="NAME", help="of this source")
    parser.add_argument(
        "--device", default=host_name(), metavar="ID", help="of this machine, or its certificate"
    )


def _add_identity(watch: argparse.ArgumentParser) -> None:
    _add_names(watch)
    question_args.add_arguments(watch)
    tls.add_arguments(watch)
    watch.add_argument(
        "--packet-key", metavar="FILE", help="signs packets: see saccade cloud packet-key"
    )
    watch.add_argument(
        "--patience",
        type=float,
        metavar="SECONDS",
        help="give up after so long without a cloud (files: 30, cameras: never)",
    )


def _add_source(watch: argparse.ArgumentParser) -> None:
    watch.add_argument(
        "--credentials-file", metavar="FILE",
        help="user:password of an rtsp:// source, in a file that only you may read (default: the "
        "variable SACCADE_CAMERA_CREDENTIALS)",
    )  # fmt: skip
    watch.add_argument(
        "--fps", type=float, metavar="N", help="at most N frames a second (default: all)"
    )
    watch.add_argument(
        "--live", action="store_true", help="play a file like a camera: newest frame only"
    )
    watch.add_argument(
        "--gate", type=float, default=GateSettings().threshold, metavar="LEVELS",
        help="levels of 255 that count as a change (default %(default)g, 0: every frame)",
    )  # fmt: skip


def _add_spool(watch: argparse.ArgumentParser) -> None:
    usual = SpoolSettings(Path())
    watch.add_argument(
        "--spool",
        metavar="PATH",
        help="keep packets in this file until the cloud has stored them; 'none': in memory alone "
        "(default: none for files, which can be read again, else CAMERA.spool in STATE_DIRECTORY "
        "or ~/.local/state/saccade)",
    )
    watch.add_argument(
        "--spool-bytes", type=_positive_int, default=usual.quota_bytes, metavar="N",
        help="then the oldest is dropped, and counted (default %(default)s)",
    )  # fmt: skip
    watch.add_argument(
        "--keep-hours", type=_positive, default=usual.keep_hours, metavar="H",
        help="what is older is dropped, and counted (default %(default)g)",
    )  # fmt: skip
    watch.add_argument(
        "--deadline", type=_positive, default=DEADLINE_S, metavar="SECONDS",
        help="with a spool: older frames let newer ones go first (default %(default)g)",
    )  # fmt: skip


def _add_budget(watch: argparse.ArgumentParser) -> None:
    watch.add_argument(
        "--budget", choices=POLICIES,
        help="how each frame's operating point is chosen (default: robust for cameras, which "
        "follows the link; fixed for files, and with --point)",
    )  # fmt: skip
    watch.add_argument(
        "--bytes-per-day", type=_positive_int, metavar="N",
        help="of this camera, headers included, by UTC day; then nothing is sent (default: no cap)",
    )  # fmt: skip
    watch.add_argument(
        "--point", type=int, metavar="N",
        help="operating point, see saccade bundle inspect: the only one, or with --budget robust "
        "the first (default: the bundle's)",
    )  # fmt: skip
    watch.add_argument(
        "--max-point", type=_max_point, metavar="N|best",
        help="no frame goes at a better one (default with robust: where more bytes hardly change "
        "an answer, as the bundle marks it; best: nothing stops it)",
    )  # fmt: skip


def _add_stages(watch: argparse.ArgumentParser) -> None:
    watch.add_argument("--detector", choices=DETECTORS, help=DETECTOR_HELP)
    point = "(default: as the operating point says)"
    watch.add_argument(
        "--crops", type=int, metavar="N", help=f"at most, beside the overview {point}"
    )
    watch.add_argument(
        "--no-overview",
        dest="overview",
        action="store_false",
        help="of a frame that has crops, only these",
    )
    watch.add_argument(
        "--images",
        type=_positive_int,
        metavar="N",
        help="that questions will be about together: some models cut a picture into tiles only "
        "where it is alone (default: the frame's views)",
    )
    watch.add_argument("--tokens", type=int, metavar="N", help=f"per view {point}")
    watch.add_argument(
        "--method", choices=UNGUIDED, help="of token selection (default: the bundle's)"
    )
    watch.add_argument(
        "--quota", choices=QUOTAS, help="how views share a frame's tokens (default: the bundle's)"
    )
    watch.add_argument("--codec", choices=codecs.names(), help=f"of the tokens {point}")
    watch.add_argument(
        "--layers", type=int, metavar="N", help=f"at most, of a codec that has several {point}"
    )
    watch.add_argument("--threads", type=int, default=0, metavar="N", help="0: every core")
    watch.add_argument(
        "--provider", action="append", metavar="NAME",
        help="of ONNX Runtime, best first, repeatable (default: CUDA if it is there, else CPU)",
    )  # fmt: skip


def _status_settings(arguments: argparse.Namespace) -> Path | None:
    """A recording without a spool is over soon, and leaves nothing behind."""
    if (spool := spool_settings(arguments)) is not None:
        return beside(spool.path)
    if not (arguments.live or is_camera(arguments.source)):
        return None
    try:
        return named(state_folder_of_user(), arguments.device, arguments.camera)
    except ConfigError as error:
        log.warning("there is no status file for `saccade edge status`: %s", error)
        return None


def _listed(status: Path | None, arguments: argparse.Namespace) -> Path | None:
    """A second file where that of the watch lies in a folder that nobody would search."""
    try:
        folder = state_folder_of_user()
        if status is None or status.parent.absolute() == folder.absolute():
            return None
        return named(folder, arguments.device, arguments.camera)
    except ConfigError as error:
        log.warning("`saccade edge status` will not list this edge: %s", error)
        return None


def spool_settings(arguments: argparse.Namespace) -> SpoolSettings | None:
    """A camera's frames exist only once, a file can be played again."""
    chosen: str | None = arguments.spool
    if chosen == "none" or (chosen is None and not is_camera(arguments.source)):
        return None
    path = Path(chosen) if chosen else _usual_spool(arguments.camera)
    return SpoolSettings(expand(path), arguments.spool_bytes, arguments.keep_hours)


def _usual_spool(camera: str) -> Path:
    short = len(camera.encode("utf-8", "surrogatepass")) <= MOST_NAME_BYTES
    name = camera if short else file_name(camera)
    return state_folder_of_user() / f"{name}.spool"


def _packet_key(path: str | None) -> bytes | None:
    """A file and not a word of the command line, which every user of the machine can read."""
    if path is None:
        return None
    text = read_private(expand(path), "the packet key", MAX_KEY_FILE_BYTES)
    return parse_key(text, path)


def _budget_settings(arguments: argparse.Namespace) -> BudgetSettings | None:
    """None where the user leaves it to the watch."""
    given = (arguments.budget, arguments.bytes_per_day, arguments.max_point)
    if all(each is None for each in given):
        return None
    live = arguments.live or is_camera(arguments.source)
    return BudgetSettings(
        policy=arguments.budget or usual_policy(live=live, point=arguments.point),
        point=arguments.point,
        max_point=arguments.max_point,
        deadline_s=arguments.deadline,
        interval_s=1 / arguments.fps if arguments.fps else BudgetSettings().interval_s,
        bytes_per_day=arguments.bytes_per_day,
    )


def _max_point(text: str) -> int | Literal["best"]:
    return "best" if text == "best" else int(text)


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def _positive_int(text: str) -> int:
    return int(_positive(str(int(text))))
