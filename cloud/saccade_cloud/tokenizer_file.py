"""The bundle's tokenizer, which a stranger may have written."""

from __future__ import annotations

from tokenizers import Tokenizer

from saccade.bundle import Bundle
from saccade.errors import BundleError

PROBE = "what is vehicle 2 ? \u00e9\u4e2d"
MAX_TOKENIZER_BYTES = 1 << 26  # the largest vocabularies in use take half of it


def open_tokenizer(bundle: Bundle) -> Tokenizer:
    """A tokenizer of the caller's own. Raises ``BundleError`` for a file that is none, and for one
    that has tokens which the manifest's vocabulary has not.
    """
    language = bundle.manifest.language
    tokenizer = parse_tokenizer(bundle.read(language.tokenizer, MAX_TOKENIZER_BYTES))
    last = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if last >= language.vocab:
        raise BundleError(
            f"{language.tokenizer} has a token {last}, "
            f"the manifest states a vocabulary of {language.vocab}"
        )
    return tokenizer


def parse_tokenizer(content: bytes) -> Tokenizer:
    """The tokenizer in the bytes of a ``tokenizer.json``. Raises ``BundleError``."""
    try:
        tokenizer = Tokenizer.from_str(content.decode("utf-8"))
        # A question is encoded as it is: a file could have it cut, or filled up without bound.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        # What the library finds only when it works: an unknown word without a token for it, say.
        tokenizer.encode(PROBE, add_special_tokens=False)
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    # The library raises bare Exception, and its panics derive from BaseException alone.
    except BaseException as error:
        reason = " ".join(str(error).split())[:200]
        raise BundleError(f"the tokenizer cannot be read: {reason}") from error
    return tokenizer
