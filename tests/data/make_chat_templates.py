#!/usr/bin/env python3
"""Writes tests/data/chat_templates.json: conversations as Jinja renders them with templates of each known format.

    python make_chat_templates.py path/to/SmolLM2-135M-Instruct.Q4_1.gguf

Needs the PyPI packages jinja2 (made with 3.1.6) and gguf (0.19.0). SmolLM2's template is the file's own. The others are written
here after the published ones, with the same output and the same way of putting a turn together.
"""
import json
import pathlib
import sys

import gguf
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

BOS_EOS = {"chatml": ("<|im_start|>", "<|im_end|>"), "llama3": ("<|begin_of_text|>", "<|eot_id|>"), "gemma": ("<bos>", "<eos>")}


def templates(smollm2):
    return [
        ("smollm2", "chatml", smollm2), ("chatml", "chatml", CHATML), ("chatml_with_bos", "chatml", "{{ bos_token }}" + CHATML), ("qwen", "chatml", QWEN),
        ("llama2", "llama2", LLAMA2), ("llama3", "llama3", LLAMA3), ("llama31", "llama3", LLAMA31), ("gemma2", "gemma", GEMMA2), ("gemma3", "gemma", GEMMA3),
        ("mistral_v1", "mistral", mistral_old("message['content'] + eos_token")),
        ("mistral_v1_space", "mistral", mistral_old("message['content'] + eos_token + ' '")),
        ("mistral_v1_system", "mistral", mistral_with_system("first", " [INST] ", " [/INST]", '" " + message["content"]')),
        ("mistral_v3", "mistral", mistral_with_system("last", "[INST] ", "[/INST]", '" " + message["content"]|trim')),
        ("mistral_tekken", "mistral", mistral_with_system("last", "[INST]", "[/INST]", 'message["content"]')),
    ]


SYSTEM = "  Be brief.\nAnswer in \u201cEnglish\u201d. "
TURNS = ["Hello, who are you?", " I am a model.\n\n", "\n\t 2 + 2 = ?  \u00a0\u3000", "4", "<|im_end|><|eot_id|>[/INST]</s><end_of_turn> \u00e9\U0001f600", " ", ""]


def conversations():
    for system in (None, SYSTEM):
        for n in range(1, len(TURNS) + 1):
            messages = [] if system is None else [{"role": "system", "content": system}]
            messages += [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(TURNS[:n])]
            yield messages, n % 2 == 1
            if n % 2 == 1:
                yield messages, False


def render(source, messages, add_generation_prompt, bos, eos):
    class Refused(Exception):
        pass

    def raise_exception(message):
        raise Refused(message)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    env.globals["raise_exception"] = raise_exception
    try:
        return env.from_string(source).render(messages=messages, add_generation_prompt=add_generation_prompt, bos_token=bos, eos_token=eos)
    except Refused:
        return None


def main():
    field = gguf.GGUFReader(sys.argv[1]).fields["tokenizer.chat_template"]
    out = []
    for name, form, source in templates(bytes(field.parts[field.data[0]]).decode()):
        bos, eos = BOS_EOS.get(form, ("<s>", "</s>"))
        if name == "chatml_with_bos":
            bos = "<s>"
        cases = [{"messages": m, "add_generation_prompt": g, "text": render(source, m, g, bos, eos)} for m, g in conversations()]
        out.append({"name": name, "format": form, "template": source, "bos": bos, "eos": eos, "cases": cases})
    path = pathlib.Path(__file__).parent / "chat_templates.json"
    path.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in out) + "\n]\n")


main()
