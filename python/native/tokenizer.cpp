#include "native/tokenizer.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "native/arrays.h"
#include "native/model.h"
#include "native/options.h"
#include "warploom/error.h"

namespace warploom::python {

namespace {

using Tokens = std::vector<TokenId>;

nb::object id_or_none(TokenId id) { return id < 0 ? nb::none() : nb::object(nb::int_(id)); }

nb::bytes to_bytes(std::string_view text) { return nb::bytes(text.data(), text.size()); }

ChatEnd read_end(const std::string& end) {
  if (end == "generation_prompt") return ChatEnd::generation_prompt;
  if (end == "closed") return ChatEnd::closed;
  if (end == "open") return ChatEnd::open;
  throw InvalidArgument("end is \"" + end + R"("; it must be "generation_prompt", "closed" or "open")");
}

Tokens encode(const PyTokenizer& self, nb::handle text, bool add_special, bool parse_special, bool add_eos, bool normalize) {
  const std::string bytes = read_text(text, "text");
  const nb::gil_scoped_release release;
  return self.tokenizer->encode(
      bytes, {.add_special = add_special, .parse_special = parse_special, .add_eos = add_eos, .normalize = normalize});
}

std::string decode(const PyTokenizer& self, nb::handle ids, bool with_special) {
  const Tokens tokens = read_tokens(ids, "ids");
  const nb::gil_scoped_release release;
  return self.tokenizer->decode(tokens, with_special);
}

void bind_text(nb::class_<PyTokenizer>& c) {
  c.def("encode", &encode, nb::arg("text"), nb::kw_only(), nb::arg("add_special") = true, nb::arg("parse_special") = true,
        nb::arg("add_eos") = false, nb::arg("normalize") = true,
        nb::sig("def encode(self, text: str | bytes, *, add_special: bool = True, parse_special: bool = True, add_eos: bool "
                "= False, "
                "normalize: bool = True) -> list[int]"),
        "The token ids of a text.\n\n"
        "add_special: put the beginning-of-sequence token first, if the model's file says so.\n"
        "parse_special: recognise special tokens that are spelled out, such as \"<|im_start|>\"; False for text of "
        "strangers.\n"
        "add_eos: put the end-of-sequence token last, if the model's file says so.\n"
        "normalize: bring text to Unicode's form C, if the model's tokenizer does.\n\n"
        "Raises InvalidArgument on a text of 2 GiB or more, and on str with lone surrogates.")
      .def(
          "decode",
          [](const PyTokenizer& self, nb::handle ids, bool with_special) { return to_str(decode(self, ids, with_special)); },
          nb::arg("ids"), nb::kw_only(), nb::arg("with_special") = false,
          nb::sig("def decode(self, ids: collections.abc.Sequence[int] | numpy.typing.NDArray[typing.Any], *, with_special: "
                  "bool = "
                  "False) -> str"),
          "The text of token ids; bytes that are no UTF-8 become U+FFFD. Special tokens are left out unless "
          "with_special.\n\n"
          "Raises InvalidArgument on an id outside the vocabulary.")
      .def(
          "decode_bytes",
          [](const PyTokenizer& self, nb::handle ids, bool with_special) {
            return to_bytes(decode(self, ids, with_special));
          },
          nb::arg("ids"), nb::kw_only(), nb::arg("with_special") = false,
          nb::sig("def decode_bytes(self, ids: collections.abc.Sequence[int] | numpy.typing.NDArray[typing.Any], *, "
                  "with_special: "
                  "bool = False) -> bytes"),
          "The same as bytes, exactly as the tokens spell them.")
      .def(
          "piece", [](const PyTokenizer& self, TokenId id) { return to_bytes(self.tokenizer->piece(id)); }, nb::arg("id"),
          "The bytes of one token in the middle of a text, special tokens written out. Raises InvalidArgument on an id "
          "outside "
          "the vocabulary.");
}

void bind_tokens(nb::class_<PyTokenizer>& c) {
  c.def_prop_ro(
       "vocab_size", [](const PyTokenizer& self) { return self.tokenizer->vocab_size(); }, "Number of tokens.")
      .def(
          "is_special", [](const PyTokenizer& self, TokenId id) { return self.tokenizer->is_special(id); }, nb::arg("id"),
          "Whether the token stands for no text. Raises InvalidArgument on an id outside the vocabulary.")
      .def(
          "is_eog", [](const PyTokenizer& self, TokenId id) { return self.tokenizer->is_eog(id); }, nb::arg("id"),
          "Whether the token ends a generation. Raises InvalidArgument on an id outside the vocabulary.")
      .def(
          "special_token",
          [](const PyTokenizer& self, const std::string& text) { return id_or_none(self.tokenizer->special_token(text)); },
          nb::arg("text"), nb::sig("def special_token(self, text: str) -> int | None"),
          "The special token that is spelled so, such as \"<|im_end|>\"; None if there is none.")
      .def_prop_ro(
          "eog_token_ids", [](const PyTokenizer& self) { return self.tokenizer->eog_token_ids(); },
          "The tokens that end a generation.")
      .def_prop_ro(
          "bos", [](const PyTokenizer& self) { return id_or_none(self.tokenizer->bos()); },
          nb::sig("def bos(self) -> int | None"), "The beginning-of-sequence token; None if the model has none.")
      .def_prop_ro(
          "eos", [](const PyTokenizer& self) { return id_or_none(self.tokenizer->eos()); },
          nb::sig("def eos(self) -> int | None"), "The end-of-sequence token; None if the model has none.");
}

constexpr const char* kChatDoc =
    "messages: dicts with \"role\" and \"content\": an optional \"system\" message, then \"user\" and \"assistant\" in "
    "turn.\n"
    "end: where the text ends. \"generation_prompt\": behind the opening of the answer; \"closed\": behind the last "
    "message's end; "
    "\"open\": behind the last content, which the model goes on with.\n\n"
    "Raises ModelError if the file has no template or one that does what is not supported (see chat_refusal), "
    "InvalidArgument on "
    "roles that are unknown or out of order.";

void bind_chat(nb::class_<PyTokenizer>& c) {
  static const std::string encode_doc =
      std::string("The tokens of a conversation as the model was trained to see it.\n\n") + kChatDoc;
  static const std::string text_doc = std::string("The text that encode_chat() encodes.\n\n") + kChatDoc;
  c.def(
       "encode_chat",
       [](const PyTokenizer& self, nb::handle messages, const std::string& end) {
         return self.tokenizer->encode_chat(read_messages(messages), read_end(end));
       },
       nb::arg("messages"), nb::arg("end") = "generation_prompt",
       nb::sig("def encode_chat(self, messages: collections.abc.Sequence[collections.abc.Mapping[str, str]], end: str = "
               "'generation_prompt') -> list[int]"),
       encode_doc.c_str())
      .def(
          "apply_chat_template",
          [](const PyTokenizer& self, nb::handle messages, const std::string& end) {
            return to_str(self.tokenizer->apply_chat_template(read_messages(messages), read_end(end)));
          },
          nb::arg("messages"), nb::arg("end") = "generation_prompt",
          nb::sig("def apply_chat_template(self, messages: collections.abc.Sequence[collections.abc.Mapping[str, str]], "
                  "end: str = "
                  "'generation_prompt') -> str"),
          text_doc.c_str())
      .def(
          "encode_next_turn",
          [](const PyTokenizer& self, nb::handle prompt, nb::handle answer, nb::handle messages) {
            return self.tokenizer->encode_next_turn(read_tokens(prompt, "prompt"), read_tokens(answer, "answer"),
                                                    read_messages(messages));
          },
          nb::arg("prompt"), nb::arg("answer"), nb::arg("messages"),
          nb::sig("def encode_next_turn(self, prompt: collections.abc.Sequence[int], answer: collections.abc.Sequence[int], "
                  "messages: "
                  "collections.abc.Sequence[collections.abc.Mapping[str, str]]) -> list[int]"),
          "The prompt of a conversation's next turn, with the tokens of the turn before as they are, so that what was "
          "computed for "
          "them is used again. prompt: what encode_chat() or this gave for the messages without their last two; answer: the "
          "tokens "
          "that the model drew then.")
      .def_prop_ro(
          "chat_format", [](const PyTokenizer& self) { return std::string(self.tokenizer->chat_format()); },
          "What the template's markers look like: \"chatml\", \"llama2\", \"llama3\", \"gemma\", \"mistral\" or \"other\"; "
          "empty if encode_chat() cannot run it.")
      .def_prop_ro(
          "chat_refusal", [](const PyTokenizer& self) { return self.tokenizer->chat_refusal(); },
          "Why chat_format is empty; itself empty otherwise.");
}

void bind_stream_decoder(nb::module_& m) {
  nb::class_<StreamDecoder>(
      m, "StreamDecoder",
      "Turns tokens into text as they come, without ever giving half a character. One for each sequence; not "
      "for several threads at once.")
      .def(
          "__init__",
          [](StreamDecoder* self, const PyTokenizer& tokenizer, bool with_special, bool at_start) {
            new (self) StreamDecoder(tokenizer.tokenizer, with_special, at_start);
          },
          nb::arg("tokenizer"), nb::kw_only(), nb::arg("with_special") = false, nb::arg("at_start") = false,
          "at_start: the tokens begin a text; else they continue one, and a leading space is kept.")
      .def(
          "push", [](StreamDecoder& self, TokenId id) { return to_str(self.push(id)); }, nb::arg("id"),
          nb::sig("def push(self, id: int) -> str"),
          "The text that this token completes; may be empty. Raises InvalidArgument on an id outside the vocabulary.")
      .def(
          "finish", [](StreamDecoder& self) { return to_str(self.finish()); }, nb::sig("def finish(self) -> str"),
          "What is left at the end.");
}

}  // namespace

void bind_tokenizer(nb::module_& m) {
  nb::class_<PyTokenizer> c(m, "Tokenizer",
                            "Text to token ids and back, as a model's file says. Immutable; for any number of threads.");
  c.def_static(
      "load",
      [](nb::handle path) {
        const std::filesystem::path file = read_path(path);
        return PyTokenizer{Tokenizer::load(file), file.string()};
      },
      nb::arg("path"), nb::sig("def load(path: str | os.PathLike[str]) -> Tokenizer"),
      "Reads the tokenizer of a GGUF file. Raises ModelError if it is missing, damaged or of an unsupported kind.");
  c.def_prop_ro(
      "path", [](const PyTokenizer& self) { return self.path.empty() ? nb::none() : nb::object(to_str(self.path)); },
      nb::sig("def path(self) -> str | None"), "The file that it was loaded from; None if there was none.");
  bind_text(c);
  bind_tokens(c);
  bind_chat(c);
  bind_stream_decoder(m);
}

}  // namespace warploom::python
