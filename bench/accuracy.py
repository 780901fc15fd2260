"""How many questions the demo bundle answers right, whole and pruned, against three baselines.

    python -m bench.accuracy [--frames 500]

Held-out frames go through the edge's own detector, encoder, selection and codec, over serialised
packets, into the cloud's own engine. Every arm is asked the same questions. "whole" is the same
model on all tokens in float32; a vehicle that the detector misses counts as wrong answers in
every arm. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.progress import Progress

from bench.heldout import EncodedScene, FrameEncoder, over_the_wire, tokens
from saccade.bundle import Bundle
from saccade.bundle_files import unlisted_model
from saccade.types import FrameTokens
from saccade_cloud.answering import Answerer
from saccade_cloud.assemble import decoder_shape, open_answerer, open_engine
from saccade_cloud.engines.base import GenerateParams, text_prompt
from saccade_cloud.engines.onnx import OnnxEngine, OnnxFiles
from saccade_cloud.tokenizer_file import open_tokenizer
from saccade_drawn_world.crossing.scene_questions import Question
from saccade_drawn_world.training.packing import PROMPT

BLIND = Path(__file__).parent / "baselines" / "blind"
BUDGETS = (32, 16, 8)
ROUNDS = 1000  # of the bootstrap
AT_ONCE = 4  # frames in flight


@dataclass
class Arm:
    """Answers of one arm: per question kind, per frame, right or wrong."""

    name: str
    right: dict[str, list[tuple[int, bool]]] = field(default_factory=lambda: defaultdict(list))
    sizes: list[int] = field(default_factory=list)

    def add(self, frame: int, question: Question, answer: str) -> None:
        self.right[question.kind].append((frame, answer == question.answer))

    def by_kind(self) -> dict[str, float]:
        return {k: float(np.mean([hit for _, hit in v])) for k, v in sorted(self.right.items())}

    @property
    def macro(self) -> float:
        return float(np.mean(list(self.by_kind().values())))

    def interval(self, frames: int) -> tuple[float, float]:
        """95 % bootstrap interval of the macro accuracy, resampling whole frames."""
        rng = np.random.default_rng(0)
        totals = np.zeros((len(self.right), frames, 2))
        for k, results in enumerate(self.right.values()):
            for frame, hit in results:
                totals[k, frame] += (hit, 1)
        draws = rng.integers(0, frames, (ROUNDS, frames))
        sums = np.stack([totals[:, d].sum(1) for d in draws])
        macros = (sums[..., 0] / np.maximum(sums[..., 1], 1)).mean(1)
        low, high = np.percentile(macros, [2.5, 97.5])
        return float(low), float(high)


class Blind:
    """The no-picture baseline: the same language model, trained on the questions alone."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        language = bundle.manifest.language
        files = OnnxFiles(
            embedding=unlisted_model(BLIND / "embed.onnx"),
            decoder=unlisted_model(BLIND / "decoder.onnx"),
            tokenizer=open_tokenizer(bundle),
        )
        shape = decoder_shape(language)
        self.engine = OnnxEngine(files, shape, stop=bundle.manifest.prompt.stop, threads=threads)
        self.tokenizer = open_tokenizer(bundle)
        self.start = self.tokenizer.get_vocab()["<bos>"]

    async def answer(self, question: str) -> str:
        text = PROMPT.format(question=question)
        ids = (self.start, *self.tokenizer.encode(text, add_special_tokens=False).ids)
        prompt = text_prompt(ids)
        async with aclosing(self.engine.generate(prompt, GenerateParams(24))) as chunks:
            return "".join([chunk.text async for chunk in chunks])


async def ask_all(
    answerer: Answerer, frame: FrameTokens, questions: Sequence[Question]
) -> list[str]:
    return await asyncio.gather(*(answerer.text(frame, q.text) for q in questions))


async def run_frame(
    number: int,
    seen: EncodedScene,
    arms: dict[str, Arm],
    answerer: Answerer,
    blind: Blind,
    bundle: Bundle,
    codec: str,
) -> None:
    """Ask one frame's questions of every arm."""
    async for name, frame, size in variants(seen, bundle, codec):
        answers = await ask_all(answerer, frame, seen.questions)
        arms[name].sizes.append(size)
        for question, answer in zip(seen.questions, answers, strict=True):
            arms[name].add(number, question, answer)
    guesses = await asyncio.gather(*(blind.answer(q.text) for q in seen.questions))
    for question, guess in zip(seen.questions, guesses, strict=True):
        arms["no picture"].add(number, question, guess)


async def variants(
    seen: EncodedScene, bundle: Bundle, codec: str
) -> AsyncIterator[tuple[str, FrameTokens, int]]:
    """(arm, tokens as the cloud has them, bytes of the packet)."""
    method = bundle.manifest.selection.method
    whole = tokens(seen, bundle.manifest.most_tokens, method)
    yield "whole", whole, over_the_wire(whole, "f16", bundle)[1]
    for budget in BUDGETS:
        yield f"{budget} of 64", *over_the_wire(tokens(seen, budget, method), codec, bundle)
    yield "16 at random", *over_the_wire(tokens(seen, 16, "random"), codec, bundle)


def add_majority(arm: Arm, results: Sequence[tuple[int, EncodedScene]]) -> None:
    """Always the most frequent answer of the test set itself: no guesser does better per kind."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for _, seen in results:
        for question in seen.questions:
            counts[question.kind][question.answer] += 1
    for number, seen in results:
        for question in seen.questions:
            arm.add(number, question, counts[question.kind].most_common(1)[0][0])


async def measure(
    options: argparse.Namespace,
) -> tuple[dict[str, Arm], list[tuple[int, EncodedScene]]]:
    bundle = Bundle.open(options.bundle)
    frame_encoder = FrameEncoder(bundle, options.regions, options.threads)
    answerer = open_answerer(bundle, open_engine(bundle, threads=options.threads or 1))
    blind = Blind(bundle, options.threads or 1)
    names = ["whole", *(f"{b} of 64" for b in BUDGETS), "16 at random", "no picture", "majority"]
    arms = {name: Arm(name) for name in names}
    results: list[tuple[int, EncodedScene]] = []
    with Progress(transient=True) as bar:
        for number in bar.track(range(options.frames), description="frames"):
            seen = frame_encoder.render_and_encode(options.first + number)
            results.append((number, seen))
            await run_frame(number, seen, arms, answerer, blind, bundle, options.codec)
    await answerer.close()
    await blind.engine.close()
    add_majority(arms["majority"], results)
    return arms, results


def table(arms: dict[str, Arm], frames: int) -> str:
    kinds = list(arms["whole"].by_kind())
    columns = {name: arm.by_kind() for name, arm in arms.items()}
    lines = ["".join(["type".ljust(14), "n".rjust(6), *(n.rjust(14) for n in columns)])]
    for kind in kinds:
        asked = len(arms["whole"].right[kind])
        lines.append(
            "".join(
                [
                    kind.ljust(14),
                    f"{asked:6d}",
                    *(f"{100 * c[kind]:14.1f}" for c in columns.values()),
                ]
            )
        )
    lines.append("".join(["macro".ljust(20), *(f"{100 * a.macro:14.1f}" for a in arms.values())]))
    spans = [
        f"{100 * low:.1f}-{100 * high:.1f}"
        for low, high in (a.interval(frames) for a in arms.values())
    ]
    lines.append("".join(["95 % interval".ljust(20), *(s.rjust(14) for s in spans)]))
    sizes = [f"{np.mean(a.sizes):.0f}" if a.sizes else "-" for a in arms.values()]
    return "\n".join([*lines, "".join(["bytes a frame".ljust(20), *(s.rjust(14) for s in sizes)])])


def summary(arms: dict[str, Arm]) -> dict[str, float]:
    whole, kinds = arms["whole"], arms["whole"].by_kind()
    worst = min(kinds, key=lambda k: kinds[k])
    return {
        "macro": round(whole.macro, 4),
        "worst_type": round(kinds[worst], 4),
        "plate": round(kinds["plate"], 4),
        "blind_share": round(arms["no picture"].macro / whole.macro, 4),
        "loss_16": round(100 * (whole.macro - arms["16 of 64"].macro), 2),
        "gain_over_random_16": round(
            100 * (arms["16 of 64"].macro - arms["16 at random"].macro), 2
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", default="crossing")
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--first", type=int, default=10_000, help="first held-out seed")
    parser.add_argument("--regions", choices=["detector", "truth"], default="detector")
    parser.add_argument("--codec", default="int8z")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write per-type results there")
    options = parser.parse_args()
    arms, results = asyncio.run(measure(options))
    crops = sum(min(len(s.scene.vehicles), 4) for _, s in results)
    missed = sum(s.missed for _, s in results)
    plates, unread = sum(s.plates for _, s in results), sum(s.unread for _, s in results)
    print(table(arms, options.frames))
    print(
        f"{options.frames} frames, regions by {options.regions}: "
        f"{missed} of {crops} vehicles and {unread} of {plates} plates in crops missed"
    )
    if options.json:
        detail = {name: arm.by_kind() for name, arm in arms.items()}
        options.json.write_text(json.dumps({"summary": summary(arms), "arms": detail}, indent=1))
    print(json.dumps(summary(arms)))


if __name__ == "__main__":
    main()
