"""``saccade ask IMAGE QUESTION``: one question about one picture, here or by a cloud."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from saccade import client, tls
from saccade.files import read_private
from saccade.nouns import Answer
from saccade.paths import expand


def register(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``saccade ask``."""
    parser.add_argument("image", metavar="IMAGE", help="a PNG, JPEG or WebP file")
    parser.add_argument("question", metavar="QUESTION", help="one line of text")
    parser.add_argument("--cloud", metavar="HOST:PORT", help="default: answer in this process")
    parser.add_argument(
        "--bundle", default="crossing", metavar="PATH|NAME", help="the same as the cloud's"
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
    tls.add_arguments(parser)
    parser.add_argument(
        "--token-file", metavar="FILE", help="with the token that the cloud asks applications for"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--stream", action="store_true", help="print the answer as it comes")
    how.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=ask)


def ask(arguments: argparse.Namespace) -> int:
    """Print the answer, then where its time went."""
    with (
        _open(arguments) as vision,
        vision.stream(arguments.image, arguments.question) as pieces,
    ):
        for piece in pieces:
            if arguments.stream:
                print(piece, end="", flush=True)
        answer = pieces.answer()
    if arguments.json:
        print(json.dumps(_record(answer)))
        return 0
    print("" if arguments.stream else answer.text)
    print("\n".join(_table(answer)))
    return 0


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
        token=_token(arguments.token_file),
        insecure=arguments.insecure,
        timeout_s=arguments.timeout,
    )


def _token(path: str | None) -> str | None:
    """A file and not a word of the command line, which every user of the machine can read."""
    return None if path is None else read_private(expand(path), "the token", 4096).strip()


def _record(answer: Answer) -> dict[str, Any]:
    return {
        "answer": answer.text,
        "finish": answer.finish,
        "bytes_sent": answer.bytes_sent,
        "stages_ms": {stage: round(ms, 2) for stage, ms in answer.timing.stages.items()},
        "total_ms": round(answer.timing.total_ms, 2),
    }


def _table(answer: Answer) -> Iterator[str]:
    timing = answer.timing
    yield ""
    yield from (f"{stage:<14}{ms:>9.1f} ms" for stage, ms in timing.stages.items())
    yield f"{'total':<14}{timing.total_ms:>9.1f} ms   {answer.bytes_sent:,} bytes sent"
