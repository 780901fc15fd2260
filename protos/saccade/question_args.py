"""How a question and its answer are described on a command line."""

from __future__ import annotations

import argparse

from saccade.turns import Generation, Question, asking


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``--system`` and how the answer is drawn."""
    parser.add_argument(
        "--system", default="", metavar="TEXT", help="what the model is told before the question"
    )
    parser.add_argument(
        "--max-tokens", type=int, default=0, metavar="N",
        help="of an answer (default: the engine's maximum)",
    )  # fmt: skip
    parser.add_argument(
        "--temperature", type=float, default=0.0, metavar="T",
        help="draw the answer's tokens (default: 0, greedy: one question has one answer)",
    )  # fmt: skip
    parser.add_argument(
        "--top-p", type=float, default=1.0, metavar="P",
        help="of the most probable tokens that together have P (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="the same one draws the same tokens"
    )
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT",
        help="ends the answer, and is no part of it; may be repeated",
    )  # fmt: skip


def question_of(arguments: argparse.Namespace, text: str) -> Question:
    """About the frame at hand. Raises ``QuestionError`` and ``LimitExceeded``."""
    drawn = Generation(
        arguments.max_tokens,
        arguments.temperature,
        arguments.top_p,
        arguments.seed,
        tuple(arguments.stop),
    )
    question = asking(text, system=arguments.system, generation=drawn)
    question.check()
    return question
