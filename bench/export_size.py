"""`saccade export hf` on checkpoints of real size: time, peak memory, bundle sizes, time of a view.

    python -m bench.export_size [--model smolvlm-256m] [--precision f32] [--photos DIR] [--keep DIR]

Checkpoints are written here with random weights from the models' real configurations, in the dtype
that they are published in. Each is exported by a process of its own, whose peak resident memory is
the kernel's figure and includes Python, torch and ONNX Runtime. `view ms`: one tile and one whole
view of 960 x 1280 pixels through the exported graph, median CPU time of one
thread. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from saccade import telemetry  # noqa: F401 - off before ONNX Runtime is loaded

# isort: split
import numpy as np
import onnxruntime as ort
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from bench.common import table
from saccade.bundle import Bundle

hf: Any = transformers
VIEW = (960, 1280)
RUNS, TILES = 2, 1


def smolvlm_256m(folder: Path) -> Any:  # noqa: ANN401 - a model of transformers
    """SmolVLM-256M-Instruct: SigLIP-base at 512, pixel shuffle by 4, SmolLM2-135M."""
    special = ["<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>"]
    _texts(folder, [*special, "<global-img>"], "<end_of_utterance>")
    hf.Idefics3ImageProcessorPil(
        size={"longest_edge": 2048}, max_image_size={"longest_edge": 512},
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    ).save_pretrained(folder)  # fmt: skip
    config = hf.Idefics3Config(
        vision_config=hf.models.idefics3.configuration_idefics3.Idefics3VisionConfig(
            hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
            image_size=512, patch_size=16,
        ),
        text_config=hf.LlamaConfig(
            hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
            num_key_value_heads=3, vocab_size=49280, max_position_embeddings=8192,
            tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=2,
        ),
        scale_factor=4, image_token_id=300, tie_word_embeddings=True, pad_token_id=2,
    )  # fmt: skip
    return hf.AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)


def onevision_05b(folder: Path) -> Any:  # noqa: ANN401
    """llava-onevision-qwen2-0.5b-ov: SigLIP-so400m at 384, Qwen2-0.5B."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"]
    _texts(folder, special, "<|im_end|>")
    pinpoints = [[384 * rows, 384 * columns] for rows in range(1, 7) for columns in range(1, 7)]
    hf.LlavaOnevisionImageProcessorPil(
        size={"height": 384, "width": 384}, image_grid_pinpoints=pinpoints,
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    ).save_pretrained(folder)  # fmt: skip
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(
            hidden_size=1152, intermediate_size=4304, num_hidden_layers=26, num_attention_heads=16,
            image_size=384, patch_size=14, vision_use_head=False,
        ),
        text_config=hf.Qwen2Config(
            hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
            num_key_value_heads=2, vocab_size=152000, max_position_embeddings=32768,
            tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=2,
        ),
        image_token_index=300, video_token_index=301, vision_feature_layer=-1,
        vision_feature_select_strategy="full", image_grid_pinpoints=pinpoints,
        tie_word_embeddings=True,
    )  # fmt: skip
    return hf.AutoModelForImageTextToText.from_config(config, dtype=torch.float16)


MODELS: dict[str, Callable[[Path], Any]] = {
    "smolvlm-256m": smolvlm_256m,
    "llava-onevision-0.5b": onevision_05b,
}


def _texts(folder: Path, special: list[str], end: str) -> None:
    """A small byte-level tokenizer and a template, enough for an export."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    core.train_from_iterator(["the picture shows a red car and a bus " * 9], trainer)
    core.add_special_tokens(special)
    core.add_special_tokens([f"<unused{n}>" for n in range(302 - core.get_vocab_size())])
    hf.PreTrainedTokenizerFast(tokenizer_object=core, eos_token=end).save_pretrained(folder)
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")


def write_checkpoint(name: str, folder: Path) -> None:
    """Random weights, saved in shards of at most a gigabyte."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    with torch.no_grad():
        model = MODELS[name](folder)
        model.save_pretrained(folder, max_shard_size="1GB")


def export(checkpoint: Path, out: Path, precision: str, photos: Path | None) -> dict[str, float]:
    """Seconds and peak resident bytes of the command, run in a process of its own."""
    command = [
        sys.executable, "-m", "bench.export_size", "--export", str(checkpoint), str(out), precision,
    ]  # fmt: skip
    start = time.monotonic()
    shown = subprocess.run(
        [*command, *([] if photos is None else ["--photos", str(photos)])],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    measured: dict[str, float] = json.loads(shown.stdout.splitlines()[-1])
    return {"seconds": time.monotonic() - start, **measured}


def export_here(checkpoint: Path, out: Path, precision: str, photos: Path | None) -> None:
    """Inside the process that is measured."""
    from saccade_export.hf_export import HfExportSettings, export

    torch.set_num_threads(1)
    settings = HfExportSettings(precision=precision, photos=photos, pictures=2, tiles=TILES)  # type: ignore[arg-type]
    made = export(checkpoint, out, settings, lambda step: print(step, file=sys.stderr, flush=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"peak": peak, "least_cosine": min(p.least for p in made.parities)}))


def view_ms(bundle: Bundle) -> tuple[float, float, int]:
    """Milliseconds of one tile, of one view, and how many tiles that view has."""
    spec = bundle.manifest.encoder
    layout = spec.geometry.layout(VIEW)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    graph = bundle.folder / spec.files[layout.pixels]
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    tile = rng.integers(0, 255, (1, *layout.pixels, 3), dtype=np.uint8)
    times = []
    for _ in range(RUNS):
        start = time.process_time()  # of this thread alone: the machine may be busy
        session.run(["features"], {spec.input: tile})
        times.append(1000 * (time.process_time() - start))
    one = float(np.median(times))
    return one, one * len(layout.tiles), len(layout.tiles)


def measure(name: str, precision: str, photos: Path | None, work: Path) -> dict[str, Any]:
    """One row."""
    checkpoint, out = work / name, work / f"{name}-{precision}"
    if not checkpoint.exists():
        write_checkpoint(name, checkpoint)
    row: dict[str, Any] = {"model": name, "precision": precision}
    row["checkpoint_mb"] = sum(f.stat().st_size for f in checkpoint.glob("*.safetensors")) / 1e6
    measured = export(checkpoint, out, precision, photos)
    bundle = Bundle.open(out)
    sizes = {side: sum(e.bytes for n, e in bundle.manifest.files.items() if n.startswith(side))
             for side in ("edge/", "cloud/")}  # fmt: skip
    tile, view, tiles = view_ms(bundle)
    return row | {
        "seconds": round(measured["seconds"], 1),
        "peak_mb": measured["peak"] / 1e6,
        "peak_of_checkpoint": measured["peak"] / 1e6 / row["checkpoint_mb"],
        "least_cosine": measured["least_cosine"],
        "edge_mb": sizes["edge/"] / 1e6,
        "cloud_mb": sizes["cloud/"] / 1e6,
        "tile_ms": tile,
        "view_ms": view,
        "tiles": tiles,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", action="append", choices=sorted(MODELS))
    parser.add_argument("--precision", action="append", choices=("f32", "f16", "int8"))
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--keep", type=Path, help="work here, and leave everything there")
    parser.add_argument("--export", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.export:
        checkpoint, out, precision = options.export
        export_here(Path(checkpoint), Path(out), precision, options.photos)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        work = options.keep or Path(scratch)
        rows = [
            measure(name, precision, options.photos, work)
            for name in options.model or sorted(MODELS)
            for precision in options.precision or ("f32", "f16", "int8")
        ]
    columns = {
        f"{row['model']} {row['precision']}": {
            key: _shown(value) for key, value in row.items() if key not in ("model", "precision")
        }
        for row in rows
    }
    print(table("", columns, width=28))
    print(json.dumps({f"{row['model']}-{row['precision']}": row for row in rows}))
    return 0


def _shown(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) and value < 1000 else (
        f"{value:,.0f}" if isinstance(value, float) else str(value)
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
