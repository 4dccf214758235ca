"""Conversations become texts as in transformers, and the answers are found in them."""

import datetime

import pytest

pytest.importorskip("tokenizers")

from language_folders import CHATML, language_tokens

from kerastrain.errors import InputError
from kerastrain.language import templates

ONE = [{"role": "user", "content": "Hi "}, {"role": "assistant", "content": " Hello 👩\u200d👧\n"}]
TWO = [*ONE, {"role": "user", "content": "And?"}, {"role": "assistant", "content": "k"}]
SYSTEM = [{"role": "system", "content": "Be brief."}, *ONE]

# In the manner of the templates of well-known models: headers, trimmed contents, alternating roles, no words before a reply,
# a token at the end of the whole, earlier thoughts left out, and marked answers.
HEADERS = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|im_start|>' + message['role'] + "
    "'\n\n' + message['content'] | trim + '<|im_end|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
    "{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n\n' }}{% endif %}"
)
ALTERNATING = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'].strip() + ' [/INST]' }}{% else %}"
    "{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
AT_THE_END = (
    "{% for message in messages %}{% if message['role'] != 'system' %}<{{ message['role'] }}>\n{{ message['content'] }}"
    "<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<assistant>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
THINKING = (
    "{%- set ns = namespace(last=0) %}{%- for message in messages %}{%- if message.role == 'user' %}"
    "{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}\n"
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}{%- set content = message.content %}"
    "{%- if message.role == 'assistant' %}{%- set thought = '' %}{%- if '</think>' in content %}"
    "{%- set thought = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}{%- if loop.index0 > ns.last %}"
    "{{- '<think>\n' + thought + '\n</think>\n\n' }}{%- endif %}{%- endif %}{{- content + '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
MARKED = (
    "{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}{%- if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{%- else %}{{ message['content'] + '<|im_end|>' }}"
    "{%- endif %}{{ '\n' }}{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
)
UNCLOSED = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def found(messages, template, **options):
    text, places = templates.answers(messages, language_tokens(template), **options)
    assert text == templates.rendered(messages, language_tokens(template), **options)
    return [text[begin:end] for begin, end in places]


@pytest.mark.parametrize(
    ("template", "answers"),
    [
        (CHATML, [" Hello 👩\u200d👧\n<|im_end|>", "k<|im_end|>"]),
        (HEADERS, ["Hello 👩\u200d👧<|im_end|>", "k<|im_end|>"]),
        (ALTERNATING, [" Hello 👩\u200d👧 </s>", " k </s>"]),
        (AT_THE_END, [" Hello 👩\u200d👧\n<|im_end|>", "k<|im_end|>"]),
        (THINKING, [" Hello 👩\u200d👧\n<|im_end|>", "<think>\n\n</think>\n\nk<|im_end|>"]),
        (MARKED, [" Hello 👩\u200d👧\n<|im_end|>", "k<|im_end|>"]),
        (UNCLOSED, [" Hello 👩\u200d👧", "k"]),
    ],
)
def test_answers_are_found_with_the_token_that_ends_them(template, answers):
    assert found(TWO, template) == answers
    assert found([*TWO, {"role": "user", "content": "more <|im_end|> 👩"}], template) == answers[:1] + [
        answers[1].replace("<think>\n\n</think>\n\n", "")
    ]


def test_texts_are_those_of_transformers():
    """The texts that `apply_chat_template` of transformers 5.24 writes."""
    assert templates.rendered(SYSTEM, language_tokens(HEADERS)) == (
        "<s><|im_start|>system\n\nBe brief.<|im_end|><|im_start|>user\n\nHi<|im_end|><|im_start|>assistant\n\n"
        "Hello 👩\u200d👧<|im_end|>"
    )
    assert templates.rendered(ONE, language_tokens(ALTERNATING)) == "<s>[INST] Hi [/INST] Hello 👩\u200d👧 </s>"
    assert templates.rendered(ONE[:1], language_tokens(MARKED), for_reply=True) == (
        "<|im_start|>user\nHi <|im_end|>\n<|im_start|>assistant\n"
    )
    tools = [{"name": "weather", "of": "<é>"}]
    assert templates.rendered(
        ONE, language_tokens("{{ tools | tojson }}{{ 1 if documents is none }}"), tools=tools
    ) == ('[{"name": "weather", "of": "<é>"}]1')
    blocks = "{% for message in messages %}\n    {% if loop.last %}\n{{ message.content }}\n    {% break %}\n    {% endif %}\n"
    blocks += "{% endfor %}"
    assert templates.rendered(ONE[:1], language_tokens(blocks)) == "Hi \n"


def test_a_thought_is_part_of_the_last_answer():
    thoughts = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "<think>\nb\n</think>\n\nc"},
        {"role": "user", "content": "d"},
        {"role": "assistant", "content": "<think>\ne\n</think>\n\nf"},
    ]
    assert found(thoughts, THINKING) == ["c<|im_end|>", "<think>\ne\n</think>\n\nf<|im_end|>"]


def test_a_stop_that_an_answer_spells_out_does_not_end_it():
    spelled = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "x<|im_end|>y"}]
    assert found(spelled, CHATML) == ["x<|im_end|>y<|im_end|>"]


@pytest.mark.parametrize(
    ("messages", "template", "reason"),
    [
        (SYSTEM, ALTERNATING, "the chat template does not take it: System role not supported"),
        ([ONE[0], *ONE], ALTERNATING, "the chat template does not take it: Conversation roles must alternate"),
        (SYSTEM, AT_THE_END, "the chat template leaves out or changes a message of the role 'system'"),
        (ONE[1:], HEADERS, "the assistant speaks first, which the chat template does not foresee"),
        (
            ONE,
            CHATML.replace("assistant\n", "assistant\n<think>\n"),
            "writes '<think>\\\\n' before a reply, where the conv",
        ),
        (ONE, "{{ messages[7].content.x }}", "the chat template does not take it: list object has no element 7"),
        (ONE, "{{ messages[0].content.__class__.mro() }}", "access to attribute '__class__' of 'str' object is unsafe"),
        (
            [ONE[0], {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather"}}]}],
            CHATML,
            "the chat template leaves out calls of functions",
        ),
    ],
)
def test_what_a_template_does_not_take_is_said(messages, template, reason):
    with pytest.raises(InputError, match=reason):
        templates.answers(messages, language_tokens(template))


def test_calls_of_functions_are_learned():
    template = CHATML.replace("{{ message['content'] }}", "{{ message['content'] }}{{ message.tool_calls | tojson }}")
    call = [{"function": {"name": "weather", "arguments": {"city": "Rome"}}}]
    messages = [ONE[0], {"role": "assistant", "content": None, "tool_calls": call}]
    template = template.replace("{{ message['content'] }}", "{{ message.content or '' }}").replace(
        "{{ message.tool_calls | tojson }}", "{% if message.tool_calls %}{{ message.tool_calls | tojson }}{% endif %}"
    )
    assert found(messages, template) == ['[{"function": {"name": "weather", "arguments": {"city": "Rome"}}}]<|im_end|>']


def test_the_date_is_always_the_same():
    tokens = language_tokens("{{ strftime_now('%d %b %Y') }}")
    assert templates.rendered(ONE, tokens) == "26 Jul 2024"
    assert datetime.datetime.now() > templates.DATE
    assert templates.notes(tokens) == [
        "the chat template writes today's date; it is always 26 Jul 2024, so that a resumed run reads the same"
    ]
    assert templates.notes(language_tokens(MARKED)) == [
        "the chat template marks what the assistant writes by {% generation %}"
    ]


def test_a_template_is_chosen_by_the_config(tmp_path):
    tokens = language_tokens(None)
    with pytest.raises(
        InputError, match=r"^the tokenizer has no chat template, .* or data\.kind=language for texts\.$"
    ):
        templates.chosen(tokens, None)
    assert templates.chosen(tokens, CHATML).stop_texts == ("<|im_end|>", "</s>")
    (tmp_path / "own.jinja").write_text(CHATML)
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    (tmp_path / "empty.json").write_text("{}")
    assert templates.chosen(language_tokens(), str(tmp_path / "own.jinja")).template == CHATML
    assert templates.chosen(tokens, str(tmp_path / "tokenizer_config.json")).template == "{{ messages }}"
    with pytest.raises(InputError, match="holds no chat_template. Give a file with the Jinja text."):
        templates.chosen(tokens, str(tmp_path / "empty.json"))
    with pytest.raises(InputError, match="must be a file with a chat template, or its Jinja text. Received: 'chatml'"):
        templates.chosen(tokens, "chatml")
    with pytest.raises(InputError, match=r"^the chat template has a fault in line 2: Encountered unknown tag 'fi'"):
        templates.chosen(tokens, "{% if messages %}\n{% fi %}")


@pytest.mark.parametrize(
    ("template", "stops", "notes"),
    [
        (CHATML, (4, 2), []),
        (CHATML.replace("<|im_end|>", "<|im_start|>"), (4, 1), []),  # whatever a template ends turns with
        (ALTERNATING, (4,), []),
        (MARKED, (4, 2), ["the chat template marks what the assistant writes by {% generation %}"]),
        (
            UNCLOSED,
            (4,),
            ["the chat template writes no special token after an answer, so that the model does not learn to end one"],
        ),
        (
            CHATML.partition("{% if add_generation_prompt")[0],
            (4, 2),
            [
                "the chat template writes '<|im_start|>assistant' before an answer, and not where a reply begins, so that it is "
                "learned as a part of the answer"
            ],
        ),
    ],
)
def test_how_a_template_ends_and_begins_answers(template, stops, notes):
    tokens = templates.chosen(language_tokens(None), template)
    assert tokens.stops == stops
    assert templates.notes(tokens) == notes
