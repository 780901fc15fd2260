"""A family's chat template, rendered where it can do no harm.

The template is a program that came with a checkpoint. It runs in Jinja's sandbox, which has no way
to files or Python's insides, and every loop step, call and text that it makes is counted: it ends
with an error, not with the server's memory or time. What it may use is listed below: what chat
templates use.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from saccade.errors import BundleError, QuestionError

MAX_TEMPLATE_BYTES = 1 << 18  # the longest that families have are some 10 KB
MAX_CHARS = 1 << 20  # of the prompt's text, and of any text on the way there
MAX_ITEMS = 1 << 16  # of a list
MAX_STEPS = 20_000  # loop steps and calls of one rendering
MAX_SECONDS = 2.0
_FILTERS = frozenset({
    "abs", "capitalize", "count", "default", "d", "first", "float", "int", "items", "join",
    "last", "length", "list", "lower", "map", "reject", "rejectattr", "replace", "reverse",
    "safe", "select", "selectattr", "string", "title", "tojson", "trim", "unique", "upper",
})  # fmt: skip
_TEXT_METHODS = frozenset({
    "capitalize", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdigit",
    "islower", "isspace", "isupper", "lower", "lstrip", "removeprefix", "removesuffix",
    "replace", "rfind", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip",
    "title", "upper",
})  # fmt: skip
_FORBIDDEN = (nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport, nodes.Block)
_STEP, _TEXT, _CONCAT = "_saccade_steps", "_saccade_bounded", "_saccade_concat"


class _TooMuch(Exception):
    """The template used up what it may."""


class _Count:
    """What one rendering has used."""

    def __init__(self) -> None:
        self.steps = 0
        self.end = time.monotonic() + MAX_SECONDS

    def step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise _TooMuch(f"takes more than {MAX_STEPS:,} steps")
        if time.monotonic() > self.end:
            raise _TooMuch(f"takes more than {MAX_SECONDS:g} s")


_count: ContextVar[_Count] = ContextVar("saccade-chat-template")


class ChatTemplate:
    """``source``: Jinja text. ``variables``: what every rendering knows, as ``bos_token``.

    Raises ``BundleError`` for what is no template, or uses what no chat template needs.
    """

    def __init__(self, source: bytes, variables: Mapping[str, str] | None = None) -> None:
        if len(source) > MAX_TEMPLATE_BYTES:
            raise BundleError(
                f"the chat template has {len(source)} bytes, at most {MAX_TEMPLATE_BYTES} are read"
            )
        environment = _Sandbox()
        try:
            tree = environment.parse(source.decode("utf-8"))
            for node in tree.find_all(_FORBIDDEN):
                raise BundleError(
                    f"the chat template has {type(node).__name__.lower()} in line {node.lineno}: "
                    "a template is one file"
                )
            self._template = environment.from_string(_Bounded().visit(tree))
        except (TemplateError, UnicodeDecodeError, RecursionError) as error:
            raise BundleError(f"the chat template cannot be read: {_short(error)}") from error
        self._variables = dict(variables or {})

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The prompt's text, up to where the answer begins.

        ``messages``: role and content (a list of ``{"type": "text", "text": ...}`` and
        ``{"type": "image"}``). Raises ``QuestionError`` where the template refuses them, fails, or
        uses too much.
        """
        token = _count.set(_Count())
        try:
            return self._joined(messages)
        except _TooMuch as error:
            raise QuestionError(f"the chat template {error} for this question") from error
        except (TemplateError, RecursionError) as error:
            raise QuestionError(
                f"the chat template takes no such turns: {_short(error)}"
            ) from error
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # The template's own mistakes: a missing key, a text where it expects a list.
            kind = type(error).__name__
            raise QuestionError(f"the chat template fails: {kind}: {_short(error)}") from error
        finally:
            _count.reset(token)

    def _joined(self, messages: Sequence[Mapping[str, Any]]) -> str:
        texts, chars = [], 0
        stream = self._template.generate(
            messages=messages, add_generation_prompt=True, **self._variables
        )
        for text in stream:
            _count.get().step()
            chars += len(text)
            if chars > MAX_CHARS:
                raise _TooMuch(f"writes more than {MAX_CHARS:,} characters")
            texts.append(text)
        return "".join(texts)


class _Bounded(NodeTransformer):
    """Every loop's items and every text that is put together go through a counter."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802 - Jinja's name
        self.generic_visit(node)
        node.iter = _called(_STEP, node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Call:  # noqa: N802 - Jinja's name
        self.generic_visit(node)
        return _called(_CONCAT, *node.nodes)

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.AssignBlock:  # noqa: N802
        self.generic_visit(node)
        node.filter = nodes.Filter(node.filter, _TEXT, [], [], None, None, lineno=node.lineno)
        return node


def _called(name: str, *arguments: nodes.Node) -> nodes.Call:
    line = arguments[0].lineno if arguments else 1
    function = nodes.Name(name, "load", lineno=line)
    return nodes.Call(function, [*arguments], [], None, None, lineno=line)


class _Generation(Extension):
    """``{% generation %}`` marks answers for training: here it is what it surrounds."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _Sandbox(ImmutableSandboxedEnvironment):
    """As transformers sets up its own, with less in it."""

    intercepted_binops = frozenset({"+", "*", "%", "**", "//", "/"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[loopcontrols, _Generation],
            optimized=False,  # nothing runs when a template is opened
            cache_size=0,
        )
        self.filters = {name: _checked(f) for name, f in self.filters.items() if name in _FILTERS}
        self.filters |= {"tojson": _tojson, "replace": _replace, "join": _join, _TEXT: _bounded}
        self.globals = {
            "range": self.globals["range"],
            "namespace": self.globals["namespace"],
            "raise_exception": _raise,
            _STEP: _steps,
            _CONCAT: _concat,
        }

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:  # noqa: ANN401 - any value
        if isinstance(obj, str) and attr not in _TEXT_METHODS:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Any:  # noqa: ANN401 - any value
        """A text's ``format`` can make texts of any size: it is no attribute."""
        return None if super().wrap_str_format(value) is None else self.undefined(name="format")

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        _count.get().step()
        text = getattr(function, "__self__", None)
        if isinstance(text, str) and getattr(function, "__name__", "") == "replace":
            return _replace(text, *args, **kwargs)
        return _bounded(super().call(context, function, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        _count.get().step()
        if operator == "**" or (operator == "%" and isinstance(left, str)):
            raise _TooMuch(f"uses the operator {operator}")
        if operator == "*":
            _check_product(left, right)
        return _bounded(super().call_binop(context, operator, left, right))


def _check_product(left: object, right: object) -> None:
    """Neither a text, a list nor a number grows beyond all bounds."""
    for many, times in ((left, right), (right, left)):
        if isinstance(many, (str, list, tuple)) and isinstance(times, int):
            most = MAX_CHARS if isinstance(many, str) else MAX_ITEMS
            if len(many) * times > most:
                raise _TooMuch(f"makes more than {most:,} of something")


def _bounded(value: Any) -> Any:  # noqa: ANN401 - any value
    """``value``, if it is no larger than a template may hold."""
    if isinstance(value, str) and len(value) > MAX_CHARS:
        raise _TooMuch(f"makes a text of more than {MAX_CHARS:,} characters")
    if isinstance(value, (list, tuple, dict)) and len(value) > MAX_ITEMS:
        raise _TooMuch(f"makes a list of more than {MAX_ITEMS:,}")
    if isinstance(value, int) and value.bit_length() > 64:
        raise _TooMuch("makes a number of more than 64 bits")
    return value


def _checked(function: Any) -> Any:  # noqa: ANN401 - a filter of Jinja's
    """A filter whose calls count, and whose result is bounded."""

    def checked(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        _count.get().step()
        return _bounded(function(*args, **kwargs))

    for name in ("jinja_pass_arg",):  # what the filter is called with
        if hasattr(function, name):
            setattr(checked, name, getattr(function, name))
    return checked


def _steps(items: Iterable[Any]) -> Iterator[Any]:
    count = _count.get()
    for item in items:
        count.step()
        yield item


def _concat(*values: object) -> str:
    return _total([str(value) for value in values])


def _join(values: Iterable[object], separator: str = "", attribute: str | None = None) -> str:
    """The filter ``join`` of texts."""
    if attribute is not None:
        values = [_item(value, attribute) for value in values]
    texts = [str(value) for value in _steps(values)]
    _total([separator] * len(texts))
    return separator.join(_whole(texts))


def _item(value: Any, name: str) -> Any:  # noqa: ANN401 - any value
    return value[name] if isinstance(value, Mapping) else ""


def _whole(texts: list[str]) -> list[str]:
    _total(texts)
    return texts


def _total(texts: list[str]) -> str:
    if sum(map(len, texts)) > MAX_CHARS:
        raise _TooMuch(f"makes a text of more than {MAX_CHARS:,} characters")
    return "".join(texts)


def _replace(text: object, old: str, new: str, count: int = -1) -> str:
    """Both the filter and the method of texts."""
    _count.get().step()
    text = str(text)
    places = text.count(old)
    if len(text) + places * len(new) > MAX_CHARS:
        raise _TooMuch(f"makes a text of more than {MAX_CHARS:,} characters")
    return text.replace(old, new, -1 if count is None else count)


def _tojson(value: object, indent: int | None = None, **_: object) -> str:
    """As transformers has it: what is no ASCII stays as it is."""
    _count.get().step()
    if indent is not None and not 0 <= indent <= 16:
        raise _TooMuch(f"indents by {indent}")
    text: str = _bounded(json.dumps(value, ensure_ascii=False, indent=indent))
    return text


def _raise(message: object) -> NoReturn:
    raise TemplateError(str(message))


def _short(error: BaseException) -> str:
    return str(error)[:200]
