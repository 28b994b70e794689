#!/usr/bin/env python3
"""Writes tests/data/chat_templates.json: conversations as Jinja renders them, with templates of many formats, and beginnings of
answers as Hugging Face's library continues them; and tests/data/jinja_constructs.json: single constructs as Jinja renders them.

    python make_chat_templates.py path/to/SmolLM2-135M-Instruct.Q4_1.gguf

Needs the PyPI packages jinja2 (made with 3.1.6) and gguf (0.19.0). SmolLM2's template is the file's own. The others are written
here after the published ones, with the same output and the same way of putting a turn together.
"""
import datetime
import json
import pathlib
import sys

import gguf
import jinja2
import jinja2.exceptions
import jinja2.ext
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

ALTERNATE = "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
SPLIT_SYSTEM = ("{% if messages[0]['role'] == 'system' %}{% set system_message = messages[0]['content'] %}{% set loop_messages = messages[1:] %}"
                "{% else %}{% set loop_messages = messages %}{% endif %}")


def mistral_with_system(where, opening, closing, assistant):
    return f"""{{%- if messages[0]["role"] == "system" %}}
    {{%- set system_message = messages[0]["content"] %}}
    {{%- set loop_messages = messages[1:] %}}
{{%- else %}}
    {{%- set loop_messages = messages %}}
{{%- endif %}}
{{{{- bos_token }}}}
{{%- for message in loop_messages %}}
    {{%- if message["role"] == "user" %}}
        {{%- if loop.{where} and system_message is defined %}}
            {{{{- "{opening}" + system_message + "\\n\\n" + message["content"] + "{closing}" }}}}
        {{%- else %}}
            {{{{- "{opening}" + message["content"] + "{closing}" }}}}
        {{%- endif %}}
    {{%- elif message["role"] == "assistant" %}}
        {{{{- {assistant} + eos_token }}}}
    {{%- else %}}
        {{{{- raise_exception("unknown role") }}}}
    {{%- endif %}}
{{%- endfor %}}"""


LLAMA2 = (SPLIT_SYSTEM + "{% for message in loop_messages %}" + ALTERNATE +
          "{% if loop.index0 == 0 and system_message is defined %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
          "{% else %}{% set content = message['content'] %}{% endif %}"
          "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
          "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}")

LLAMA3 = ("{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + "
          "'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
          "{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}")

LLAMA31 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""

QWEN = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- endif %}
    {{- '\\n\\n# Tools<|im_end|>\\n' }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are a helpful assistant (made by nobody).<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}"""

GEMMA2 = ("{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
          "{% for message in messages %}" + ALTERNATE +
          "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}"
          "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
          "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}")

GEMMA3 = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {{- message['content'] | trim }}
    {{- '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ '<start_of_turn>model\\n' }}
{%- endif -%}"""


def mistral_old(assistant):
    return ("{{ bos_token }}{% for message in messages %}" + ALTERNATE +
            "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ " + assistant +
            " }}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}")


CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")

GENERATE = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
CHATML_TURNS = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}" + GENERATE

# What recognition by a few markers gets wrong: default system messages that are not one plain literal, ...
DEFAULT_IN_VARIABLE = ("{% set sys = 'Be kind.' %}{% if messages[0]['role'] == 'system' %}{% set sys = messages[0]['content'] %}"
                       "{% set messages = messages[1:] %}{% endif %}{{ '<|im_start|>system\n' + sys + '<|im_end|>\n' }}" + CHATML_TURNS)
DEFAULT_WITH_APOSTROPHE = ("{% if messages[0].role != 'system' %}{{ \"<|im_start|>system\nYou're kind.<|im_end|>\n\" }}{% endif %}" + CHATML_TURNS)
DEFAULT_WITH_ESCAPES = ("{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\nPut it into \\\\boxed{}, it\\'s \\x41\\u00e9.<|im_end|>\\n' }}{% endif %}" +
                        CHATML_TURNS)
# ... a system message without a turn, other names of roles, ...
PLAIN_SYSTEM = ("{% if messages[0]['role'] == 'system' %}{% set system_message = messages[0]['content'] %}{% endif %}"
                "{% if system_message is defined %}{{ system_message }}{% endif %}{% for message in messages %}{% set content = message['content'] %}"
                "{% if message['role'] == 'user' %}{{ '<|im_start|>user\n' + content + '<|im_end|>\n<|im_start|>assistant\n' }}"
                "{% elif message['role'] == 'assistant' %}{{ content + '<|im_end|>' + '\n' }}{% endif %}{% endfor %}")
OTHER_ROLES = ("{% for message in messages %}{% if message['role'] == 'user' %}{% set role = 'question' %}"
               "{% elif message['role'] == 'assistant' %}{% set role = 'answer' %}{% else %}{% set role = message['role'] %}{% endif %}"
               "{{ '<|im_start|>' + role + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
               "{% if add_generation_prompt %}{{ '<|im_start|>answer\n' }}{% endif %}")
OPENCHAT = ("{{ bos_token }}{% for message in messages %}{% if message['role'] in ['user', 'assistant'] %}"
            "{% set content = '<|start_header_id|>GPT4 Correct ' + message['role'].title() + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}"
            "{% elif message['role'] == 'system' %}{% set content = message['content'] | trim + '<|eot_id|>' %}{% endif %}{{ content }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|start_header_id|>GPT4 Correct Assistant<|end_header_id|>\n\n' }}{% endif %}")
# ... contents trimmed in one place, an answer that opens with its thoughts, ...
TRIMMED_ONCE = ("{% for message in messages %}{% if message['role'] == 'system' %}{{ '<|im_start|>system\n' + message['content'] | trim + '<|im_end|>\n' }}"
                "{% else %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}" + GENERATE)
THOUGHTS = """{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n<think>\\n' }}
{%- endif %}
"""
# ... Llama 3 with a default, with a system turn in any case, with one line break, and Llama 2 with a default.
def llama3_turns(breaks):
    return ("{% for message in messages %}{{ '<|start_header_id|>' ~ message.role ~ '<|end_header_id|>" + breaks + "' ~ message.content | trim ~ '<|eot_id|>' }}"
            "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>" + breaks + "' }}{% endif %}")


LLAMA3_DEFAULT = ("{{ bos_token }}{% if messages[0].role != 'system' %}{{ '<|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>' }}{% endif %}" +
                  llama3_turns("\n\n"))
LLAMA3_SYSTEM_TURN = ("{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content | trim %}{% set messages = messages[1:] %}"
                      "{% else %}{% set system = '' %}{% endif %}{{ '<|start_header_id|>system<|end_header_id|>\n\n' ~ system ~ '<|eot_id|>' }}" +
                      llama3_turns("\n\n"))
LLAMA3_ONE_BREAK = "{{ bos_token }}" + llama3_turns("\n")
LLAMA2_DEFAULT = LLAMA2.replace("{% set loop_messages = messages %}{% endif %}",
                                "{% set loop_messages = messages %}{% set system_message = 'Be kind.' %}{% endif %}")
# Thoughts that the template writes by itself.
THOUGHTS_APART = """{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {%- set content = message.content %}
        {%- set thoughts = '' %}
        {%- if '</think>' in message.content %}
            {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
            {%- set thoughts = message.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.last or thoughts %}
            {{- '<|im_start|>assistant\\n<think>\\n' + thoughts.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>assistant\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
# Formats of other families.
ZEPHYR = ("{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n"
          "{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
          "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
          "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}")
PHI3 = ("{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}")
PHI4 = ("{% for message in messages %}{{ '<|im_start|>' + message.role + '<|im_sep|>' + message.content + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}")
DEEPSEEK = """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}
{%- set ns = namespace(is_first=true, system_prompt='') -%}
{%- for message in messages if message['role'] == 'system' -%}
    {%- set ns.system_prompt = message['content'] -%}
{%- endfor -%}
{{ bos_token }}{{ ns.system_prompt }}
{%- for message in messages -%}
    {%- if message['role'] == 'user' -%}{{ '<\uff5cUser\uff5c>' + message['content'] }}
    {%- elif message['role'] == 'assistant' -%}
        {%- set content = message['content'] -%}
        {%- if '</think>' in content -%}{%- set content = content.split('</think>')[-1] -%}{%- endif -%}
        {{ '<\uff5cAssistant\uff5c>' + content + '<\uff5cend\u2581of\u2581sentence\uff5c>' }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt and messages[-1]['role'] == 'user' -%}{{ '<\uff5cAssistant\uff5c><think>\\n' }}{%- endif -%}"""
# Much of the language: macros, namespaces, slices, conditions within expressions, white space around every kind of tag.
LANGUAGE = """{#- A comment, and { braces } -#}
{%- macro turn(role, content, end='<|im_end|>') -%}
    {{- '<|im_start|>' ~ role ~ '\\n' ~ content ~ end -}}
{%- endmacro -%}
{%- set ns = namespace(users=0, last_user=messages|length - 1) -%}
{%- for message in messages[::-1] -%}
    {%- set index = (messages|length - 1) - loop.index0 -%}
    {%- if message.role == 'user' and ns.users == 0 -%}
        {%- set ns.last_user = index -%}
        {%- set ns.users = ns.users + 1 -%}
    {%- endif -%}
{%- endfor -%}
  {% for message in messages %}
    {% set opening = 'first' if loop.first else ('last' if loop.last) %}
    {% if not (message.role is string and message['content'] is not none) or tools or documents is none and false %}
never
    {% elif loop.index0 == ns.last_user -%}
{{ turn(message.role, message.content[:5] ~ '|' ~ message.content[5:]) }}
    {%- else %}
{{ turn(role=message.role | upper, content=message.content | replace('a', "A") | trim, end="<|im_end|>" "\\n") }}
    {% endif %}
  [{{ opening }}]{{- ' ' if opening is defined and opening }}{{ loop.revindex0 * 2 // 3 % 4 - 1 }}
  {%+ if message.content.strip() | length > 10 and not message.content.startswith('\\n') %} long{% endif +%}
  {% endfor %}
{% for key, value in {'a': 1, 'b': [2, 3][-1]}.items() %}{{ key }}={{ value }}{% if not loop.last %}, {% endif %}{% endfor %}
{% for i in range(1, 8) if i is odd %}{% if i == 5 %}{% break %}{% endif %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% else %}none{% endfor %}
{% set block %}{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | map('trim') | join('/') }}{% endset %}
{{ block | default('nothing') }} {{ missing | default('nothing') }} {{ missing }}{{ 1 < 2 <= 2 and 'x' in 'xyz' and 4 not in [1, 2] }} {{ none }}
{% generation %}
{{ messages | first | string == '' if false else messages[-1].content | last }}
{%- endgeneration %}

{% if add_generation_prompt %}
{{ turn('assistant', '', '') }}
{% endif %}
"""


class Generation(jinja2.ext.Extension):
    """Hugging Face's library marks with it what is trained on."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


BOS_EOS = {"chatml": ("<|im_start|>", "<|im_end|>"), "llama3": ("<|begin_of_text|>", "<|eot_id|>"), "gemma": ("<bos>", "<eos>")}


def templates(smollm2):
    return [
        ("smollm2", "chatml", smollm2), ("chatml", "chatml", CHATML), ("chatml_with_bos", "chatml", "{{ bos_token }}" + CHATML), ("qwen", "chatml", QWEN),
        ("llama2", "llama2", LLAMA2), ("llama3", "llama3", LLAMA3), ("llama31", "llama3", LLAMA31), ("gemma2", "gemma", GEMMA2), ("gemma3", "gemma", GEMMA3),
        ("mistral_v1", "mistral", mistral_old("message['content'] + eos_token")),
        ("mistral_v1_space", "mistral", mistral_old("message['content'] + eos_token + ' '")),
        ("mistral_v1_system", "mistral", mistral_with_system("first", " [INST] ", " [/INST]", '" " + message["content"]')),
        ("mistral_v3", "mistral", mistral_with_system("last", "[INST] ", "[/INST]", '" " + message["content"]|trim')),
        ("default_in_variable", "chatml", DEFAULT_IN_VARIABLE), ("default_with_apostrophe", "chatml", DEFAULT_WITH_APOSTROPHE),
        ("default_with_escapes", "chatml", DEFAULT_WITH_ESCAPES), ("plain_system", "chatml", PLAIN_SYSTEM), ("other_roles", "chatml", OTHER_ROLES),
        ("openchat", "llama3", OPENCHAT), ("trimmed_once", "chatml", TRIMMED_ONCE), ("thoughts", "chatml", THOUGHTS),
        ("thoughts_apart", "chatml", THOUGHTS_APART),
        ("llama3_default", "llama3", LLAMA3_DEFAULT), ("llama3_system_turn", "llama3", LLAMA3_SYSTEM_TURN),
        ("llama3_one_break", "llama3", LLAMA3_ONE_BREAK), ("llama2_default", "llama2", LLAMA2_DEFAULT), ("zephyr", "other", ZEPHYR),
        ("phi3", "other", PHI3), ("phi4", "chatml", PHI4), ("deepseek", "other", DEEPSEEK), ("language", "chatml", LANGUAGE),
        ("mistral_tekken", "mistral", mistral_with_system("last", "[INST]", "[/INST]", 'message["content"]')),
    ]


SYSTEM = "  Be brief.\nAnswer in \u201cEnglish\u201d. "
TURNS = ["Hello, who are you?", " I am a model.\n\n", "\n\t 2 + 2 = ?  \u00a0\u3000", "4", "<|im_end|><|eot_id|>[/INST]</s><end_of_turn> \u00e9\U0001f600", " ", "", "<think>\nhm\n</think>\n\nYes.", "And?"]


def conversations():
    for system in (None, SYSTEM):
        for n in range(1, len(TURNS) + 1):
            messages = [] if system is None else [{"role": "system", "content": system}]
            messages += [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(TURNS[:n])]
            yield messages, n % 2 == 1
            if n % 2 == 1:
                yield messages, False


class Refused(Exception):
    pass


def raise_exception(message):
    raise Refused(message)


def strftime_now(form):
    return datetime.datetime.now().strftime(form)


ENVIRONMENT = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation])
ENVIRONMENT.globals["raise_exception"] = raise_exception
ENVIRONMENT.globals["strftime_now"] = strftime_now


def render(source, messages, add_generation_prompt, bos, eos):
    try:
        return ENVIRONMENT.from_string(source).render(
            messages=messages, add_generation_prompt=add_generation_prompt, bos_token=bos, eos_token=eos, tools=None, documents=None)
    except Refused:
        return None


BEGINNINGS = ["Sure, ", " It is ", "4", "\n\n  So\n\tit \n", "<think>\n", "<think>\nhm", "<think>\nhm\n</think>\n\nYes", "<think>\n\n</think>\n\n"]


def opened(source, given, bos, eos):
    text = render(source, [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": given}], False, bos, eos)
    return None if text is None or given.strip() not in text else text[:text.rindex(given.strip())]


def continued(source, given, bos, eos):
    """As transformers' continue_final_message finds the place; but white space around `given` is the model's to go on with, too."""
    before = opened(source, given, bos, eos)
    if before is None:
        return None
    front = given[:len(given) - len(given.lstrip())]
    if not before.endswith(front):
        before = opened(source, given.lstrip(), bos, eos) + front
    return before + given.lstrip()


# Each line is a template. Null if Jinja refuses it.
CONSTRUCTS = r"""
{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}|{{ f(1, 2) }}|{{ f(b=3, a=4) }}
{% set b = 5 %}{% macro f(a, c=b) %}{{ a }}{{ c }}{{ b }}{% endmacro %}{% set b = 6 %}{{ f(1) }}
{% macro f(a, b=c, c=2) %}{{ a }}{{ b is defined }}{{ c }}{% endmacro %}{{ f(1) }}
{% set a = 4 %}{% macro f(a=a) %}{{ a is defined }}{% endmacro %}{{ f() }}
{% for i in [1, 2] %}{% macro f() %}{{ i }}{% endmacro %}{{ f() }}{% endfor %}{{ f is defined }}
{% for i in [1, 2] %}{% macro f() %}{{ loop.index }}{{ i }}{% set i = 3 %}{{ i }}{% endmacro %}{{ f() }}{{ i }}{% endfor %}
{% for i in [1, 2] %}{% for j in [3] %}{% macro f(x) %}{{ i }}{{ j }}{{ x }}{% endmacro %}{{ f(loop.index) }}{% endfor %}{% endfor %}
{% set q = 1 %}{% macro m() %}{{ q }}{{ loop is defined }}{% endmacro %}{% for i in [1, 2] %}{% set q = 5 %}{{ m() }}{% endfor %}
{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}
{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}
{% macro outer(x) %}{% macro inner(y=x) %}{{ x }}{{ y }}{% endmacro %}{{ inner() }}{{ inner(2) }}{% endmacro %}{{ outer(1) }}{{ inner is defined }}
{% macro f(a) %}{{ a }}/{{ varargs | join(',') }}/{{ kwargs.x }}{% endmacro %}{{ f(1, 2, 3, x=4) }}|{{ f() }}
{% macro f(a) %}{{ a }}{{ kwargs.a }}{% endmacro %}{{ f(1, a=2) }}
{% macro f() %}{{ varargs | length }}{{ kwargs | length }}{{ caller is defined }}{% endmacro %}{{ f() }}{{ f(1, 2, a=3) }}{{ varargs is defined }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=2) }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, a=2) }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}
{% macro f(a) %}{{ a }}{{ x.varargs }}{% endmacro %}{{ f(1, 2) }}
{% set ns = namespace(f=none) %}{% macro f(a) %}<{{ a }}>{% endmacro %}{% set ns.f = f %}{{ ns.f(1) }}
{% set a %}{% set b = 1 %}x{{ b }}{% endset %}{{ a }}{{ b is defined }}
{% generation %}{% set x = 1 %}{{ x }}{% endgeneration %}{{ x is defined }}
{{ [['a', 'b'], ['c']] | map('join', ',') | join('|') }}{{ [['a', 'b']] | map('join', d='-') | first }}
{{ [none, nope, 'x'] | map('default', 'q') | join(',') }}{{ ['', 'x'] | map('default', 'q', true) | join(',') }}
{{ ['xax', 'b'] | map('trim', 'x') | join(',') }}{{ ['abab'] | map('replace', 'a', 'z', 1) | join }}
{{ [{'a': 1}, {}] | map(attribute='a', default='q') | join(',') }}{{ [{'a': 1}, {}] | map(attribute='a') | join(',') }}
{{ [{'a': {'b': 1}}, {'a': {'b': 2}}] | map(attribute='a.b') | join(',') }}
{{ [{'a': {'b': 1}}, {'a': {}}, {}] | map(attribute='a.b', default='q') | join(',') }}
{{ [{}] | map(attribute='a.b') | join }}
{{ [{'a': [{'b': 1}, {'b': 2}]}] | map(attribute='a.1.b') | join }}{{ [[1, 2], [3, 4]] | map(attribute=1) | join }}{{ [[1, 2]] | map(attribute='0') | join }}
{{ [{}] | map(attribute='a', x=1) | join }}
{{ [1] | map | join }}
{{ none | map('upper') | list | length }}{{ nope | map('upper') | list | length }}{{ '' | selectattr('a') | list | length }}
{{ [{'a': {'b': 1}}, {'a': {}}] | selectattr('a.b') | list | length }}{{ [{'a': {'b': 1}}, {'a': {'b': 2}}] | rejectattr('a.b', 'eq', 1) | map(attribute='a.b') | join }}
{{ [1, 0, 2, 3] | select | join }}{{ [1, 2, 3] | select('odd') | join }}{{ [1, 2, 3] | reject('in', [1, 2]) | join }}{{ [1, 0] | reject | join }}
{{ [{'a': {'b': 1}}, {'a': {'b': 2}}] | join(',', attribute='a.b') }}{{ [1, 2] | join(d='-') }}
{{ 'aXbX' | replace('X', 'y', 1) }}{{ 'aXbX' | replace('X', 'y', count=1) }}{{ 'aXbX'.replace('X', 'y', 1) }}{{ 'aXbX'.replace('X', 'y', 0) }}{{ 'aXbX'.replace('X', 'y', -1) }}
{{ 'aéc'.replace('', '-') }}{{ 'abc'.replace('', '-', 2) }}|{{ ''.replace('', '-') }}
{{ ' a'.startswith('a', 1) }}{{ ' a'.startswith('a') }}{{ 'éabc'.startswith('ab', 1) }}{{ 'abc'.startswith('b', -2) }}{{ 'abc'.startswith('bc', 1, 2) }}{{ 'abc'.startswith('', 3) }}{{ 'abc'.startswith('', 4) }}{{ 'abc'.startswith('b', 1, none) }}
{{ 'abc'.endswith('b', 0, 2) }}{{ 'abc'.endswith('b', 0, -1) }}{{ 'abc'.endswith('abc', 1) }}{{ 'abc'.endswith(('x', 'c')) }}{{ 'abc'.startswith(('x', 'b')) }}{{ 'abc'.endswith('') }}
{{ 'éabcab'.find('ab') }}{{ 'éabcab'.find('ab', 2) }}{{ 'éabcab'.find('ab', 2, 5) }}{{ 'abc'.find('x') }}{{ 'éabcab'.rfind('ab') }}{{ 'abc'.find('', 3) }}{{ 'abc'.find('', 4) }}{{ 'abc'.rfind('') }}
{{ 'abcab'.count('ab') }}{{ 'abcab'.count('ab', 1) }}{{ 'aaa'.count('aa') }}{{ 'aéc'.count('') }}{{ 'abc'.count('', 4) }}{{ 'abc'.count('c', 0, -1) }}
{{ ' a  b c '.split() | join('|') }}{{ ' a  b c '.split(none, 1) | join('|') }}{{ ' a  b c '.split(maxsplit=1) | join('|') }}{{ ' a '.split(none, 0) | join('|') }}{{ ' a'.split(none, 1) | join('|') }}
{{ 'a,b,,c'.split(',', 2) | join('|') }}{{ 'a,b,c'.split(sep=',', maxsplit=1) | join('|') }}{{ 'a,b'.split(',', -1) | join('|') }}{{ ''.split(',') | length }}{{ ''.split() | length }}
{{ 'a,b,,c'.rsplit(',', 2) | join('|') }}{{ ' a  b c '.rsplit(none, 1) | join('|') }}{{ 'aaa'.rsplit('aa', 1) | join('|') }}{{ 'a b'.rsplit() | join('|') }}
{{ 'xyaxy'.strip('yx') }}|{{ 'éaéb'.lstrip('éa') }}|{{ 'a→→'.rstrip('→') }}|{{ ' a '.strip(none) }}|{{ 'xax' | trim('x') }}|{{ 'xax' | trim(chars='x') }}
{{ 'x' | trim(foo=1) }}
{{ 'x' | upper('y') }}
{{ 'x'.upper('y') }}
{{ 'x'.startswith(prefix='x') }}
{{ 1 is defined(2) }}
{{ raise_exception is defined }}{{ range is defined }}{{ namespace is defined }}{{ strftime_now is defined }}{{ dict is defined }}{{ lipsum is defined }}{{ cycler is defined }}{{ joiner is defined }}{{ nope is defined }}
{{ self is defined }}{{ 'date' if strftime_now is not defined else 'now' }}{% set range = 3 %}{{ range }}
{% set r = range %}{{ r(3) | join }}
{{ messages[0].get is defined }}{{ 'a'.upper is defined }}{{ messages.append is defined }}{{ messages.index is defined }}{{ messages[0].update is defined }}{{ messages[0].nope is defined }}{{ 'a'.nope is defined }}{{ ''.__class__ is defined }}
{{ {'items': 3}['items'] }}{{ {'items': 3}.items is number }}{{ {}['get'] is defined }}{{ {'get': 1}['get'] }}
{% set ns = namespace(items=3) %}{{ ns.items }}{{ ns.get is defined }}
{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}{{ {'a': 1, 'b': 2}.values() | join(',') }}{{ {'a': 1}.get('b', 'q') }}{{ {'a': 1}.get('b') }}{{ nope | items | list | length }}
{% for i in [5, 6] %}{% for j in [1] %}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}{{ loop.depth }}{{ loop['index'] }}{{ loop.foo is defined }}{% endfor %}
{% for i in range(4) %}{{ loop.cycle('a', 'b', 'c') }}{% endfor %}
{% for i in [1, 1, 2, 2, 1] %}{{ loop.changed(i) }}{% endfor %}{% for i in [1, 2] %}{{ loop.changed() }}{% endfor %}
{% for i in [1, 2] %}{% for j in [3, 3] %}{{ loop.changed(j, 'x') }}{% endfor %}{% endfor %}
{% for i in [7, 8, 9] %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}|{% endfor %}
{% for i in [1, 2, 3, 4] if i % 2 == 0 %}{{ i }}{{ loop.index }}{{ loop.length }}{{ loop.revindex0 }}{{ loop.previtem }}{% endfor %}
{% for i in [1, 2] %}{% set outer = loop %}{% for j in [3] %}{{ outer.index }}{{ loop.index }}{% endfor %}{% endfor %}{{ loop is iterable }}
{% for i in [1] %}{{ loop is iterable }}{{ loop is sequence }}{{ loop is mapping }}{% endfor %}
{% for i in [1] %}{{ loop.nope() }}{% endfor %}
{% for k, v in {'a': 1, 'b': 3, 'a': 2}.items() %}{{ k }}{{ v }}{% endfor %}{{ {'a': 1, 'a': 2} | length }}
{{ dict(a=1, a=2) }}
{{ range() | length }}
{{ nope() }}
{{ nope.upper() }}
{{ none.upper() }}
"""


def construct(source):
    user = [{"role": "user", "content": "Who?"}]
    try:
        return ENVIRONMENT.from_string(source).render(messages=user)
    except (jinja2.TemplateError, jinja2.exceptions.FilterArgumentError, TypeError, AttributeError, SyntaxError):
        return None


def write(name, entries):
    path = pathlib.Path(__file__).parent / name
    path.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n")


def main():
    field = gguf.GGUFReader(sys.argv[1]).fields["tokenizer.chat_template"]
    out = []
    for name, form, source in templates(bytes(field.parts[field.data[0]]).decode()):
        bos, eos = BOS_EOS.get(form, ("<s>", "</s>"))
        if name == "chatml_with_bos":
            bos = "<s>"
        cases = [{"messages": m, "add_generation_prompt": g, "text": render(source, m, g, bos, eos)} for m, g in conversations()]
        beginnings = [] if name == "language" else [{"given": given, "text": continued(source, given, bos, eos)} for given in BEGINNINGS]
        out.append({"name": name, "format": form, "template": source, "bos": bos, "eos": eos, "cases": cases, "continued": beginnings})
    write("chat_templates.json", out)
    write("jinja_constructs.json", [{"template": line, "text": construct(line)} for line in CONSTRUCTS.strip().split("\n")])


main()
