"""What the demo's bundles say of their model. It answers one question about one frame."""

from __future__ import annotations

from saccade.manifest import QuestionSpec, RegionSpec
from saccade.spec import (
    EncoderBucket,
    EncoderOutputs,
    EncoderSpec,
    FixedGrid,
    ImageSpec,
    LanguageSpec,
    OnnxLanguage,
    Preprocess,
    ProjectorSpec,
    PromptSpec,
    TokenPart,
    TokenSpec,
)
from saccade.spec.language import INPUTS
from saccade_drawn_world.crossing.scene_questions import EXAMPLES
from saccade_drawn_world.crossing.words import QUESTION_WORDS
from saccade_drawn_world.tiny.tiny_language import Language
from saccade_drawn_world.training.packing import PROMPT
from saccade_drawn_world.training.shards import (
    CLOSEUP_MARGIN,
    CROP_MARGIN,
    CROP_MIN_PX,
    MAX_CLOSEUPS,
    MAX_CROPS,
)
from saccade_drawn_world.view_forms import Form

IMAGE = "<pad>"
TEMPLATE_FILE = "cloud/chat_template.jinja"
TEMPLATE = (
    "{% if messages | length != 1 or messages[0].role != 'user' %}"
    "{{ raise_exception('this model answers one question, without a dialogue') }}{% endif %}<bos>"
    "{% for part in messages[0].content if part.type == 'image' %}" + IMAGE + "{% endfor %}"
    "{% for part in messages[0].content if part.type == 'text' %}{{ part.text }}{% endfor %}"
    + PROMPT.removeprefix("{question}")
)
# Each view's tokens follow the last one's, and the model was trained to count what is there.
PROMPT_SPEC = PromptSpec(TEMPLATE_FILE, ImageSpec(IMAGE), ("<eos>",), pruned_positions="compact")
QUESTIONS = QuestionSpec(200, 1, tuple(EXAMPLES), "vehicle {crop}", tuple(QUESTION_WORDS))
REGIONS = RegionSpec(
    max_crops=MAX_CROPS,
    crop_margin=CROP_MARGIN,
    crop_min_px=CROP_MIN_PX,
    max_closeups=MAX_CLOSEUPS,
    closeup_margin=CLOSEUP_MARGIN,
    aspect="tile",
)


def encoder_spec(form: Form, dim: int) -> EncoderSpec:
    """The encoder, whose tokens are the patches or the registers of a view."""
    size = (form.config.height, form.config.width)
    return EncoderSpec(
        buckets=(EncoderBucket("edge/encoder.onnx", size),),
        geometry=FixedGrid(size, form.grid),
        preprocess=Preprocess("area"),
        tokens=TokenSpec((TokenPart("main", dim),), "the encoder's last layer"),
        outputs=EncoderOutputs(saliency="saliency", keys="keys"),
    )


def language_spec(model: Language) -> LanguageSpec:
    """The projector, which knows each token's place, and the language model."""
    config = model.config
    return LanguageSpec(
        width=config.width,
        vocab=config.vocab,
        max_tokens=24,
        max_context=config.context,
        tokenizer="cloud/tokenizer.json",
        projector=ProjectorSpec("cloud/projector.onnx", INPUTS),
        onnx=OnnxLanguage(
            embedding="cloud/embed.onnx",
            decoder="cloud/decoder.onnx",
            layers=config.layers,
            heads=config.heads,
            kv_heads=config.heads,
            head_dim=config.width // config.heads,
        ),
    )
