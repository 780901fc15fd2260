"""A template renders what its family's own renders; a hostile one ends with an error."""

from __future__ import annotations

import time
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from saccade.errors import BundleError, QuestionError
from saccade_cloud.chat_template import ChatTemplate

TURNS: list[dict[str, Any]] = [
    {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
    {
        "role": "user",
        "content": [{"type": "image"}, {"type": "text", "text": "Was ist das? 日本 "}],
    },
    {"role": "assistant", "content": [{"type": "text", "text": "Ein Hund."}]},
    {"role": "user", "content": [{"type": "text", "text": "Sure?"}, {"type": "image"}]},
]
QWEN = """{% set image_count = namespace(value=0) %}{% for message in messages %}{% if loop.first
and message['role'] != 'system' %}<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif %}<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}<|im_end|>
{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in
content %}{% set image_count.value = image_count.value + 1 %}{% if add_vision_id %}Picture {{
image_count.value }}: {% endif %}<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in
content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
GEMMA = """{{ bos_token }}{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate") }}
    {%- endif -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- for item in message['content'] -%}
        {%- if item['type'] == 'image' -%}{{ '<start_of_image>' }}
        {%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}
    {%- endfor -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{'<start_of_turn>model\n'}}{%- endif -%}"""
IDEFICS = """{{ bos_token }}{% for message in messages %}{{ message['role'] | capitalize }}{% if
message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}{% for line in
message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}{% elif line['type'] == 'image'
%}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>
{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}{%
generation %}!{% endgeneration %}"""
LLAVA = """{% for message in messages %}{{ message['role'] ~ ': ' }}{% for content in
message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}{% for
content in message['content'] | selectattr('type', 'equalto', 'text') %}{% if not loop.first
%}{{ ' ' }}{% continue %}{% endif %}{{ content['text'] | tojson }}{% endfor %}{% set tail %}{{
message.role.upper().replace('U', 'V') }}{% endset %}{{ tail }}{% endfor %}"""


@pytest.mark.parametrize("source", [QWEN, GEMMA, IDEFICS, LLAVA])
def test_it_renders_what_transformers_renders(source: str) -> None:
    expected = render_jinja_template(
        [TURNS], chat_template=source, add_generation_prompt=True, bos_token="<bos>"
    )[0][0]
    assert ChatTemplate(source.encode(), {"bos_token": "<bos>"}).render(TURNS) == expected


def test_what_a_template_raises_is_told() -> None:
    turns = [TURNS[1], TURNS[1]]
    with pytest.raises(QuestionError, match="Conversation roles must alternate"):
        ChatTemplate(GEMMA.encode()).render(turns)


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(90) }}",
        "{% for a in messages recursive %}{{ loop(messages) }}{{ loop(messages) }}{% endfor %}",
        "{{ 'a' * 999999999 }}",
        "{{ [1] * 999999999 }}",
        "{{ 2 ** 99999999 }}",
        "{% set n = namespace(s='ab') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}"
        "{% endfor %}",
        "{% set n = namespace(s='ab') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}"
        "{% endfor %}",
        "{% set n = namespace(s='ab') %}{% for i in range(60) %}{% set t %}{{ n.s }}{{ n.s }}"
        "{% endset %}{% set n.s = t %}{% endfor %}",
        "{% macro f(s) %}{{ s }}{{ s }}{% endmacro %}{% set n = namespace(s='ab') %}"
        "{% for i in range(60) %}{% set n.s = f(n.s) %}{% endfor %}",
        "{% set n = namespace(s='aa') %}{% for i in range(60) %}"
        "{% set n.s = n.s.replace('a', n.s) %}{% endfor %}",
        "{% set n = namespace(s='aa') %}{% for i in range(60) %}"
        "{% set n.s = n.s | replace('a', n.s) %}{% endfor %}",
        "{% set n = namespace(x=9) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}",
        "{% set n = namespace(s='aa') %}{% for i in range(60) %}"
        "{% set n.s = [n.s, n.s] | join(n.s) %}{% endfor %}",
        "{{ '%999999999d' % 1 }}",
        "{{ '{:999999999}'.format(1) }}",
        "{{ 'a'.center(999999999) }}",
        "{{ range(99999999) | list }}",
        "{{ messages | tojson(indent=99999999) }}",
        "{% for a in range(19999) %}{{ 'aaaaaaaaaa' * 9 }}{% endfor %}",
        "{% for a in range(9999) %}{% set x = range(99999) | list | length %}{% endfor %}",
    ],
)
def test_a_template_that_uses_too_much_ends(source: str) -> None:
    started = time.monotonic()
    with pytest.raises(QuestionError):
        ChatTemplate(source.encode()).render(TURNS)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__ }}",
        "{{ raise_exception.__globals__ }}",
        "{{ self.__init__.__globals__ }}",
        "{{ namespace.__init__.__globals__['os'] }}",
        "{{ messages.append(1) }}",
        "{{ (messages | attr('__class__')) }}",
        "{{ lipsum(99999999) }}",
        "{{ cycler.__init__ }}",
        "{% set x = messages.clear() %}",
    ],
)
def test_a_template_reaches_nothing_outside(source: str) -> None:
    try:
        text = ChatTemplate(source.encode()).render(TURNS)
    except (QuestionError, BundleError):
        return
    assert text == ""  # an undefined value


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{% include '/etc/passwd' %}", "include in line 1"),
        ("{% extends 'other' %}", "extends in line 1"),
        ("{% import 'other' as o %}", "import in line 1"),
        ("{% for %}", "cannot be read"),
        ("{{ messages | unknown }}", "cannot be read"),
        ("{{ messages | pprint }}", "cannot be read"),
        (b"\xff", "cannot be read"),
        ("x" * (1 << 19), "at most 262144"),
        ("{{ " + "(" * 5000 + ")" * 5000 + " }}", "cannot be read"),
    ],
)
def test_what_is_no_chat_template_is_refused_when_it_is_opened(
    source: str | bytes, said: str
) -> None:
    with pytest.raises(BundleError, match=said):
        ChatTemplate(source if isinstance(source, bytes) else source.encode())


def test_a_template_that_expects_other_turns_says_so() -> None:
    with pytest.raises(QuestionError, match="chat template"):
        ChatTemplate(b"{{ messages[0].missing.deeper }}").render(TURNS)
