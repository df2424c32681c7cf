// From the file's text to a Spec: document, changes from the command line, then section by section. Every mistake of
// the file is reported in this one run.
#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "compiler/spec/override.hpp"
#include "compiler/spec/sections.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

using Kind = Element::Kind;

/// The number in "weir/2"; 0 where the text is no such thing.
std::int64_t format_number(std::string_view text) {
  constexpr std::string_view prefix = "weir/";
  if (!text.starts_with(prefix)) return 0;
  text.remove_prefix(prefix.size());
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool digits =
      !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!digits || text.front() == '0') return 0;
  return error == std::errc::result_out_of_range ? std::numeric_limits<std::int64_t>::max() : number;
}

/// A newer file may mean anything: it is not judged at all.
void refuse_newer_format(const Element& root, const Diagnostics& diagnostics) {
  const Element* format = root.is(Kind::object) ? root.find("format") : nullptr;
  if (!format || !format->is(Kind::text) || format_number(format->text) < 2) return;
  throw Error(
      ErrorCode::version_mismatch,
      fmt::format("{}:{}:{}: the format {} is newer than this program, which reads \"weir/1\"; take a newer weir",
                  diagnostics.file().empty() ? "spec" : diagnostics.file(), format->place.line, format->place.column,
                  quote(format->text)));
}

void read_format(Reading& reading, const ObjectReader& root) {
  const Element* format = root.find("format");
  if (!format || !reading.expect(*format, Kind::text, "spec", "format", "write \"weir/1\"")) return;
  if (format->text != "weir/1")
    reading.error("E0209", format->place,
                  fmt::format("spec: \"format\" must be \"weir/1\", found {}", quote(format->text)));
}

/// It names the folder of a run, so it must be one step of a path.
void read_name(Sections& sections, const ObjectReader& root, std::string_view stem) {
  sections.spec.name = stem;
  const Element* name = root.find("name");
  if (!name || !sections.reading.expect(*name, Kind::text, "spec", "name")) return;
  const std::string& text = name->text;
  const bool control = std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; });
  if (text.empty() || text.size() > 255 || control || text.front() == '.' ||
      text.find_first_of("/\\") != std::string::npos)
    sections.reading
        .error("E0206", name->place, fmt::format("spec: \"name\" is {}, which is no name for a file", quote(text)))
        .help = "1 to 255 bytes, without slashes and not starting with a dot";
  sections.spec.name = text;
}

void warn_of_unread_inputs(Sections& sections) {
  if (sections.reading.has_errors()) return;  // the reader of an input may be among what was not understood
  for (const InputSpec& input : sections.spec.inputs)
    if (!sections.read_inputs.contains(input.name))
      sections.reading.warning("W0301", input.place, fmt::format("nothing reads the input {}", quote(input.name)))
          .help = "it needs no data then; take it out, or use it in a layer, a target or a metric";
}

void read_sections(Sections& sections, const Element& root, std::string_view stem, bool training) {
  const ObjectReader reader(sections.reading, root, "spec", root_keys());
  read_format(sections.reading, reader);
  read_name(sections, reader, stem);
  sections.spec.numerics = sections.reading.numerics = reader.get<std::string>("numerics");
  const auto with = [&](std::string_view key, const auto& read) {
    if (const Element* element = reader.find(key)) read(*element);
  };
  if (!reader.has("inputs") || !reader.has("layers")) sections.names.miss();
  with("inputs", [&](const Element& inputs) { read_inputs(sections, inputs); });
  with("layers", [&](const Element& layers) { read_layers(sections, layers); });
  with("layers", [&](const Element& layers) { connect_layers(sections, layers); });
  check_shares(sections);
  with("outputs", [&](const Element& outputs) { read_outputs(sections, outputs); });
  with("loss", [&](const Element& loss) { read_loss(sections, loss, training && reader.has("train")); });
  with("train", [&](const Element& train) { read_train(sections, train); });
  with("data", [&](const Element& data) { read_data(sections, data); });
  if (training && reader.has("train") && !reader.meant("loss"))
    sections.reading.error("E0401", reader.find("train")->place,
                           "train: the file has no \"loss\", so there is nothing to train");
  warn_of_unread_inputs(sections);
}

}  // namespace

Spec parse_spec(std::string_view text, std::string_view stem, Diagnostics& diagnostics,
                const SpecOverrides& overrides) {
  Spec spec;
  auto root = parse_document(text, diagnostics);
  if (!root) return spec;
  if (!root->is(Kind::object)) {
    diagnostics.error("E0203", root->place, fmt::format("a specification is an object, found {}", describe(*root)))
        .help = "it starts with {\"format\": \"weir/1\"";
    return spec;
  }
  refuse_newer_format(*root, diagnostics);
  Reading reading(diagnostics, apply_overrides(*root, overrides, diagnostics));
  spec.canonical = print(*root);
  Sections sections{reading, spec};
  read_sections(sections, *root, stem, overrides.training);
  return spec;
}

std::string spec_hash(std::string_view canonical) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : canonical) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return fmt::format("{:016x}", hash);
}

}  // namespace weir
