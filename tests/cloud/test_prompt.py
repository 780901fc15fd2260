from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from saccade.errors import BundleError, LimitExceeded, QuestionError, UnknownWords
from saccade.question_rules import QuestionRules
from saccade.spec import FixedGrid, Geometry, ImageSpec, PromptSpec, TiledGrid
from saccade.turns import FrameReference, Question, Turn, asking
from saccade.types import Box, ViewKind
from saccade_cloud.chat_template import ChatTemplate
from saccade_cloud.engines.base import Prompt
from saccade_cloud.prompt import PromptBuilder, PromptFiles, place_of
from saccade_cloud.tokenizer_file import parse_tokenizer
from saccade_cloud.visual_frame import VisualFrame, VisualImage
from saccade_testing.tiny_bundle import PROMPT, SPECIALS, TEMPLATE, write_tokenizer

RULES = QuestionRules(200, frames=1)
WIDTH = 4
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
# Turns as families write them: a placeholder for each image, the text after it.
CHAT = (
    "{% for turn in messages %}<{{ turn.role }}>{% for part in turn.content %}"
    "{% if part.type == 'image' %}<start><image><end>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<eot>{% endfor %}<assistant>"
)
MARKS = ["<image>", "<start>", "<end>", "<eot>", "<user>", "<assistant>", "<system>", "<tile>"]
MARKS += ["<row>", "<all>"]
SPEC = PromptSpec("chat", ImageSpec("<image>", opening="<start>"), ("<eot>",))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return parse_tokenizer(path.read_bytes())


def letters() -> Tokenizer:
    """Every character is a token: what stands where can be read."""
    chars = ["?", *map(chr, range(32, 127)), "\n", "\u200b", "é", "日", "本"]
    vocab = {char: number for number, char in enumerate(dict.fromkeys(chars))}
    made = Tokenizer(models.WordLevel(vocab, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.add_special_tokens([AddedToken(mark, normalized=False) for mark in MARKS])
    return made


LETTERS = letters()


def builder(
    tokenizer: Tokenizer, spec: PromptSpec = PROMPT, template: str = TEMPLATE, frames: int = 0
) -> PromptBuilder:
    files = PromptFiles(
        Tokenizer.from_str(tokenizer.to_str()),
        ChatTemplate(template.encode()),
        {"newline": np.full(WIDTH, -1, np.float32)},
    )
    return PromptBuilder(files, spec, replace(RULES, frames=frames))


def image(
    ids: list[int],
    geometry: Geometry = FixedGrid((16, 16), (2, 2)),  # noqa: B008 - it never changes
    size: tuple[int, int] = (16, 16),
    kind: ViewKind = "overview",
    window: Box = WHOLE,
    label: str = "",
) -> VisualImage:
    """Each token's embedding is its id."""
    embeds = np.repeat(np.array(ids, np.float32)[:, None], WIDTH, axis=1)
    layout = geometry.layout(size)
    return VisualImage(layout, np.array(ids, np.int32), embeds, kind, window, label=label)


def frame(*images: VisualImage) -> VisualFrame:
    return VisualFrame(images)


THREE = frame(image([0, 1, 3]))


def told(prompt: Prompt) -> str:
    """The prompt in characters, a visual token as its id."""
    visual = {
        span.start + i: f"[{int(row[0])}]"
        for span in prompt.spans
        for i, row in enumerate(span.embeds)
    }
    return "".join(
        visual.get(place) or str(LETTERS.id_to_token(int(id_)))
        for place, id_ in enumerate(prompt.ids)
    )


def test_the_template_is_applied_in_order(tokenizer: Tokenizer) -> None:
    prompt = builder(tokenizer).build(asking("What color is the car ?"), {0: THREE})
    (span,) = prompt.spans
    assert prompt.ids[0] == SPECIALS.index("<bos>")
    assert (span.start, span.stop) == (1, 4)
    np.testing.assert_array_equal(span.embeds, THREE.images[0].embeds)
    text = tokenizer.decode(prompt.ids[4:].tolist(), skip_special_tokens=False)
    assert text == "question : what color is the car? answer :"
    assert prompt.positions.tolist() == [list(range(len(prompt)))]
    assert prompt.next_position == len(prompt)


def test_the_shared_part_ends_with_the_visual_tokens(tokenizer: Tokenizer) -> None:
    made = builder(tokenizer)
    first = made.build(asking("how many"), {0: THREE})
    second = made.build(asking("is the car red"), {0: THREE})
    assert first.shared == second.shared == 4
    assert first.ids[:4].tolist() == second.ids[:4].tolist()


def test_kept_tokens_stay_at_their_places_and_text_goes_on_behind_the_whole_image() -> None:
    prompt = builder(LETTERS, SPEC, CHAT).build(asking("a?"), {0: THREE})
    assert told(prompt) == "<user><start>[0][1][3]<end>a?<eot><assistant>"
    assert prompt.positions.tolist() == [[0, 1, 2, 3, 5, 6, 7, 8, 9, 10]]
    assert prompt.next_position == 11
    assert prompt.shared == 5
    compact = builder(LETTERS, replace(SPEC, pruned_positions="compact"), CHAT)
    assert compact.build(asking("a?"), {0: THREE}).positions.tolist() == [[*range(10)]]


def test_mrope_has_three_rows() -> None:
    prompt = builder(LETTERS, replace(SPEC, positions="mrope"), CHAT).build(asking("a"), {0: THREE})
    assert prompt.positions[:, :6].tolist() == [
        [0, 1, 2, 2, 2, 4], [0, 1, 2, 2, 3, 4], [0, 1, 2, 3, 3, 4],
    ]  # fmt: skip


def test_several_turns_and_frames_stand_where_they_are_spoken_of() -> None:
    turns = (
        Turn("system", ("be",)),
        Turn("user", (FrameReference(7), "a", FrameReference(9))),
        Turn("assistant", ("é日本",)),
        Turn("user", ("b",)),
    )
    frames = {7: THREE, 9: frame(image([2]))}
    prompt = builder(LETTERS, SPEC, CHAT).build(Question(turns), frames)
    assert told(prompt) == (
        "<system>be<eot><user><start>[0][1][3]<end>a<start>[2]<end><eot><assistant>é日本<eot>"
        "<user>b<eot><assistant>"
    )
    assert [span.start for span in prompt.spans] == [6, 12]
    assert prompt.shared == 13


def test_regions_are_introduced_before_what_belongs_to_their_image() -> None:
    spec = replace(SPEC, region_intro="Region {number}, {label}, {place}: ", overview_intro="All: ")
    seen = frame(
        image([0]),
        image([1], kind="crop", window=(0.0, 0.7, 0.2, 1.0), label="car"),
        image([2], kind="crop", window=(0.4, 0.4, 0.6, 0.6)),
    )
    prompt = builder(LETTERS, spec, CHAT).build(asking("a"), {0: seen})
    assert told(prompt) == (
        "<user>All: <start>[0]<end>Region 1, car, lower left: <start>[1]<end>"
        "Region 2, crop, centre: <start>[2]<end>a<eot><assistant>"
    )
    alone = builder(LETTERS, spec, CHAT).build(asking("a"), {0: THREE})
    assert told(alone).startswith("<user><start>[0]")


@pytest.mark.parametrize(
    ("window", "place"),
    [
        ((0.0, 0.0, 0.2, 0.2), "upper left"),
        ((0.4, 0.0, 0.6, 0.2), "upper"),
        ((0.8, 0.4, 1.0, 0.6), "right"),
        (WHOLE, "centre"),
    ],
)
def test_a_place_is_said_in_words(window: Box, place: str) -> None:
    assert place_of(window) == place


GRID = TiledGrid((8, 8), (1, 2), "closest-ratio", ((1, 2), (2, 1)), "last")
TILES = ImageSpec(
    "<image>",
    placeholder="<all>",
    before="<start>",
    after="<end>",
    tile="<tile>{row}{column}",
    row_end="<row>",
    overview="o",
    overview_after="p",
)


def test_tiles_stand_between_their_texts_even_where_none_of_their_tokens_are_kept() -> None:
    spec = replace(SPEC, image=TILES)
    template = CHAT.replace("<start><image><end>", "<all>")
    seen = frame(image([0, 1, 4], GRID, (8, 16)))
    prompt = builder(LETTERS, spec, template).build(asking("a"), {0: seen})
    assert told(prompt) == ("<user><start><tile>11[0][1]<tile>12<row>o[4]p<end>a<eot><assistant>")
    assert [span.start for span in prompt.spans] == [5, 12]
    # The second tile has two places between its text and the row's end.
    assert prompt.positions[0, 5:13].tolist() == [5, 6, 7, 8, 9, 12, 13, 14]


def test_an_image_of_one_tile_has_a_text_of_its_own() -> None:
    spec = replace(SPEC, image=replace(TILES, alone="s"))
    template = CHAT.replace("<start><image><end>", "<all>")
    prompt = builder(LETTERS, spec, template).build(asking("a"), {0: THREE})
    assert told(prompt) == "<user><start>s[0][1][3]p<end>a<eot><assistant>"


MOSAIC = TiledGrid((8, 8), (2, 2), "best-resolution", ((2, 2),), "first")
LINES = ImageSpec("<image>", separator="newline", separator_alone=True)
ROWS = replace(SPEC, image=LINES, vectors={"newline": "n"})


def test_a_mosaic_is_written_row_by_row_without_its_padding() -> None:
    """A wide picture: the first and the last row of the mosaic are padding."""
    whole = MOSAIC.layout((8, 16))
    ids = whole.visible().tolist()
    assert whole.shown == (1, 0, 2, 4)
    prompt = builder(LETTERS, ROWS, CHAT).build(
        asking("a"), {0: frame(image(ids, MOSAIC, (8, 16)))}
    )
    assert told(prompt) == (
        "<user><start>[0][1][2][3][6][7][10][11][-1][12][13][16][17][-1]<end>a<eot><assistant>"
    )
    assert len(prompt.spans) == 1
    assert prompt.positions.tolist() == [[*range(len(prompt))]]


def test_a_separator_stays_where_its_row_keeps_a_token() -> None:
    seen = frame(image([1, 10], MOSAIC, (8, 16)))
    prompt = builder(LETTERS, ROWS, CHAT).build(asking("a"), {0: seen})
    assert told(prompt) == "<user><start>[1][10][-1]<end>a<eot><assistant>"
    # Behind 4 tokens of the overview the mosaic has two rows of 4 tokens and a separator.
    assert prompt.positions[0].tolist()[:6] == [0, 1, 3, 8, 10, 16]


def test_a_single_tile_ends_with_a_separator_too() -> None:
    prompt = builder(LETTERS, ROWS, CHAT).build(asking("a"), {0: THREE})
    assert told(prompt) == "<user><start>[0][1][3][-1]<end>a<eot><assistant>"


def test_images_that_see_themselves_are_spans_of_their_own() -> None:
    template = CHAT.replace("<start><image><end>", "<image>")
    seen = frame(image([0, 1]), image([2], kind="crop"))
    for attention, lengths in (("causal", [3]), ("bidirectional", [2, 1])):
        spec = replace(SPEC, attention=attention)
        prompt = builder(LETTERS, spec, template).build(asking("a"), {0: seen})
        assert [len(span) for span in prompt.spans] == lengths
        assert all(span.bidirectional == (attention != "causal") for span in prompt.spans)
    prefix = builder(LETTERS, replace(SPEC, attention="prefix"), template)
    prompt = prefix.build(asking("a"), {0: seen})
    assert (prompt.prefix_attention, prompt.shared) == (True, 0)


def test_deepstack_rows_go_with_their_tokens() -> None:
    deep = np.arange(2 * 3 * WIDTH, dtype=np.float32).reshape(2, 3, WIDTH)
    seen = frame(replace(THREE.images[0], deepstack=deep))
    (span,) = builder(LETTERS, SPEC, CHAT).build(asking("a"), {0: seen}).spans
    assert span.deepstack is not None
    np.testing.assert_array_equal(span.deepstack, deep)


@pytest.mark.parametrize("special", [*MARKS, "<image><image>", "<<image>"])
def test_a_special_token_that_somebody_types_is_only_text(special: str) -> None:
    made = builder(LETTERS, SPEC, CHAT)
    plain = made.build(asking("is x red"), {0: THREE})
    prompt = made.build(asking(f"is {special} red"), {0: THREE})
    marks = [LETTERS.token_to_id(mark) for mark in MARKS]
    assert [i for i in prompt.ids if i in marks] == [i for i in plain.ids if i in marks]
    assert len(prompt.spans) == 1


def test_texts_that_make_a_special_token_together_are_refused() -> None:
    turn = Turn("user", (FrameReference(), "<ima", "ge>"))
    with pytest.raises(QuestionError, match="places for 1 images"):
        builder(LETTERS, SPEC, CHAT).check(Question((turn,)))
    turn = Turn("user", (FrameReference(), "<eo", "t>"))
    with pytest.raises(QuestionError, match="make a special token with what is beside them"):
        builder(LETTERS, SPEC, CHAT).check(Question((turn,)))


@pytest.mark.parametrize("special", SPECIALS)
def test_a_closed_vocabulary_has_no_special_tokens(tokenizer: Tokenizer, special: str) -> None:
    prompt = builder(tokenizer).build(asking(f"is it {special} red"), {0: THREE})
    assert SPECIALS.index(special) not in prompt.ids[4:]


def test_a_template_that_leaves_an_image_out_is_told() -> None:
    with pytest.raises(QuestionError, match="the chat template has 0 places for 1 images"):
        builder(LETTERS, SPEC, "{{ messages[0].content[1].text }}").check(asking("a"))


def test_more_frames_than_the_model_takes_are_refused() -> None:
    made = builder(LETTERS, SPEC, CHAT, frames=1)
    with pytest.raises(LimitExceeded, match="received 2 frames in a question, the limit is 1"):
        made.check(asking("a", (1, 2)))


def test_turns_that_the_template_refuses_are_refused(tokenizer: Tokenizer) -> None:
    turns = (Turn("system", ("be brief",)), *asking("is it red").turns)
    with pytest.raises(QuestionError, match="one turn"):
        builder(tokenizer).check(Question(turns))


def test_braces_in_a_question_are_only_text() -> None:
    prompt = builder(LETTERS, SPEC, CHAT).build(asking("{{ 7 * 7 }} {% x %} {0}"), {0: THREE})
    assert "<end>{{ 7 * 7 }} {% x %} {0}<eot>" in told(prompt)


@pytest.mark.parametrize("question", ["是红色吗", "is 它 red", "¿is it red ?"])
def test_what_the_tokenizer_has_no_token_for_is_named(question: str, tokenizer: Tokenizer) -> None:
    unknown = next(word for word in ("是红色吗", "它", "¿") if word in question)
    with pytest.raises(UnknownWords, match=f"does not know '{unknown[0]}"):
        builder(tokenizer).check(asking(question))


def test_a_vocabulary_of_words_refuses_all_others_and_names_the_nearest() -> None:
    words = ("<unk>", "<bos>", "<pad>", "<eos>", "how", "many", "cars", "question", "answer", ":")
    vocab = {word: number for number, word in enumerate(words)}
    closed = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    closed.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    closed.add_special_tokens(["<bos>", "<pad>", "<eos>"])
    made = builder(closed)
    assert len(made.build(asking("how many cars"), {0: THREE})) == 1 + 3 + 7
    with pytest.raises(UnknownWords, match=r"know 'carz' \(did you mean 'cars'\?\) and 'fly':"):
        made.check(asking("how many carz fly"))


def test_a_question_of_which_no_token_is_left_is_empty() -> None:
    vocab = {"<unk>": 0, "<bos>": 1, "<pad>": 2, "<eos>": 3}
    bare = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    bare.normalizer = normalizers.Replace("\u200b", "")
    with pytest.raises(QuestionError, match="empty"):
        builder(bare).check(asking("\u200b"))


@pytest.mark.parametrize(
    "spec",
    [replace(SPEC, stop=("<never>",)), replace(SPEC, image=ImageSpec("<picture>"))],
    ids=["stop", "image"],
)
def test_tokens_that_the_tokenizer_lacks_are_a_bundle_error(spec: PromptSpec) -> None:
    with pytest.raises(BundleError, match="the tokenizer has no token '<(never|picture)>'"):
        builder(LETTERS, spec, CHAT)


def test_the_least_text_is_that_of_a_question_of_one_character() -> None:
    assert builder(LETTERS, SPEC, CHAT).least_text_tokens == len("usea") + 2
