"""A tokenizer of words and characters for a small closed world.

WordPiece, so that any text can be written: known words are one token, everything else falls
apart into characters. "vehicle 1" and its like are one token each: the slot vectors of the
projector are their embeddings.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>", "<overview>")


def slot_names(crops: int) -> list[str]:
    """The words that stand for slots 0, 1 and so on: <overview>, "vehicle 1", "vehicle 2"."""
    return ["<overview>", *(f"vehicle {i}" for i in range(1, crops + 1))]


def slot_ids(tokenizer: Tokenizer, crops: int) -> list[int]:
    """Token ids of ``slot_names``; raises KeyError for a tokenizer without them."""
    vocab = tokenizer.get_vocab()
    return [vocab[name] for name in slot_names(crops)]


def for_questions(tokenizer: Tokenizer, tail: str) -> Tokenizer:
    """The tokenizer of a bundle: ``tokenizer``, but neither capitals, symbols such as emoji nor a
    missing final mark change a question. ``tail``: what follows the question in the prompt.

    A bundle's tokenizer only reads questions. Training also reads answers with its own, where a
    plate's letters are capitals.
    """
    # The same symbols that `saccade.question_rules` passes over.
    symbols = normalizers.Replace(Regex(r"[\p{So}\p{Sk}\p{Cf}\x{FE00}-\x{FE0F}]"), "")
    end = rf"\w\K(?={re.escape(tail)}$)"
    marks = (
        normalizers.Replace(Regex(rf"^describe\b.*{end}"), " ."),
        normalizers.Replace(Regex(end), " ?"),
    )
    copy = Tokenizer.from_str(tokenizer.to_str())
    before = (normalizers.NFKC(), symbols, tokenizer.normalizer)
    copy.normalizer = normalizers.Sequence([*before, normalizers.Lowercase(), *marks])
    return copy


def build(words: Iterable[str], crops: int) -> Tokenizer:
    """A tokenizer that knows ``words`` and every printable ASCII character."""
    characters = sorted(set(string.printable) - set(string.whitespace))
    pieces = [*SPECIAL, *slot_names(crops)[1:], *sorted({*words, *characters})]
    pieces += [f"##{c}" for c in characters]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="<unk>", max_input_chars_per_word=64))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    tokenizer.add_special_tokens([AddedToken(s, normalized=False) for s in SPECIAL])
    tokenizer.add_tokens([AddedToken(s, single_word=True) for s in slot_names(crops)[1:]])
    return tokenizer
