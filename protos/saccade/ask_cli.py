"""``saccade ask IMAGE QUESTION``: one question about a picture, or about a cloud's camera."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from saccade import client, question_args, tls
from saccade.errors import ConfigError
from saccade.files import read_private
from saccade.paths import expand
from saccade.turns import Question
from saccade.types import Answer


def register(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``saccade ask``."""
    parser.add_argument(
        "image", metavar="IMAGE", help="a PNG, JPEG or WebP file; with --camera a camera's name"
    )
    parser.add_argument("question", metavar="QUESTION", help="what is asked")
    parser.add_argument("--cloud", metavar="HOST:PORT", help="default: answer in this process")
    parser.add_argument(
        "--camera", action="store_true", help="ask about the newest frame of a camera of --cloud"
    )
    parser.add_argument(
        "--max-age",
        type=float,
        metavar="SECONDS",
        help="with --camera: refuse an older frame (default: any age)",
    )
    parser.add_argument(
        "--bundle", metavar="PATH|NAME", help="one of the cloud's (default: the demo's)"
    )
    parser.add_argument(
        "--point", type=int, metavar="N", help="operating point (default: the bundle's)"
    )
    point = "(default: as the operating point says)"
    parser.add_argument("--tokens", type=int, metavar="N", help=f"per view {point}")
    parser.add_argument("--codec", metavar="NAME", help=f"of the tokens {point}")
    parser.add_argument(
        "--detector",
        metavar="NAME",
        help="motion, saliency, none, or yolo: the bundle's own (default)",
    )
    parser.add_argument(
        "--timeout", type=float, default=30.0, metavar="SECONDS", help="for the answer"
    )
    question_args.add_arguments(parser)
    tls.add_arguments(parser)
    parser.add_argument(
        "--api-key-file",
        metavar="FILE",
        help="with the API key that the cloud asks applications for",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--stream", action="store_true", help="print the answer as it comes")
    how.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=ask)


def ask(arguments: argparse.Namespace) -> int:
    """Print the answer, then how sure and how old it is and where its time went."""
    _check(arguments)
    with _open(arguments) as vision:
        answer = _camera(vision, arguments) if arguments.camera else _picture(vision, arguments)
    if arguments.json:
        print(json.dumps(_record(answer)))
        return 0
    streamed = arguments.stream and not arguments.camera
    print("" if streamed else answer.text)
    print("\n".join(_table(answer)))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if arguments.camera and arguments.cloud is None:
        raise ConfigError("--camera needs --cloud: one process has no cameras")
    if arguments.max_age is not None and not arguments.camera:
        raise ConfigError("--max-age is about a camera's frame: give --camera, too")


def _picture(vision: client.Vision, arguments: argparse.Namespace) -> Answer:
    with vision.stream(arguments.image, _question(arguments)) as pieces:
        for piece in pieces:
            if arguments.stream:
                print(piece, end="", flush=True)
        return pieces.answer()


def _camera(vision: client.Vision, arguments: argparse.Namespace) -> Answer:
    return vision.ask_camera(arguments.image, _question(arguments), max_age_s=arguments.max_age)


def _question(arguments: argparse.Namespace) -> Question:
    return question_args.question_of(arguments, arguments.question)


def _open(arguments: argparse.Namespace) -> client.Vision:
    encode = client.EncodeOptions(
        point=arguments.point,
        tokens_per_view=arguments.tokens,
        codec=arguments.codec,
        detector=arguments.detector,
    )
    if arguments.cloud is None:
        return client.local(arguments.bundle, encode=encode)
    return client.connect(
        arguments.cloud,
        bundle=arguments.bundle,
        encode=encode,
        ca=arguments.tls_ca,
        cert=arguments.tls_cert,
        key=arguments.tls_key,
        api_key=_api_key(arguments.api_key_file),
        insecure=arguments.insecure,
        timeout_s=arguments.timeout,
    )


def _api_key(path: str | None) -> str | None:
    """A file and not a word of the command line, which every user of the machine can read."""
    return None if path is None else read_private(expand(path), "the API key", 4096).strip()


def _record(answer: Answer) -> dict[str, Any]:
    return {
        "answer": answer.text,
        "finish": answer.finish,
        "probability": answer.probability,
        "least_probability": answer.least_probability,
        "camera": answer.camera,
        "captured": answer.captured.isoformat() if answer.captured else None,
        "age_s": None if answer.age_s is None else round(answer.age_s, 3),
        "clock_ahead_s": answer.clock_ahead_s,
        "connected": answer.connected,
        "domain": answer.domain,
        "bytes_sent": answer.bytes_sent,
        "stages_ms": {stage: round(ms, 2) for stage, ms in answer.timing.stages.items()},
        "total_ms": round(answer.timing.total_ms, 2),
    }


def _table(answer: Answer) -> Iterator[str]:
    timing = answer.timing
    yield ""
    yield from _facts(answer)
    yield from (f"{stage:<14}{ms:>9.1f} ms" for stage, ms in timing.stages.items())
    yield f"{'total':<14}{timing.total_ms:>9.1f} ms   {answer.bytes_sent:,} bytes sent"


def _facts(answer: Answer) -> Iterator[str]:
    """What tells a good answer from a guess, or an old one."""
    yield f"{'trained for':<14}{answer.domain}"
    if answer.probability is not None and answer.least_probability is not None:
        least = f"least token {answer.least_probability:.2f}"
        yield f"{'probability':<14}{answer.probability:>9.2f}      {least}"
    if answer.connected is None or answer.age_s is None:
        return
    captured = f"captured {answer.captured:%Y-%m-%d %H:%M:%S} UTC" if answer.captured else ""
    gone = "" if answer.connected else ", the camera is not connected"
    yield f"{'frame is old':<14}{answer.age_s:>9.1f} s    {captured}{gone}"
    if answer.clock_ahead_s:
        yield f"{'clock ahead':<14}{answer.clock_ahead_s:>9.1f} s    of the edge, at least"
