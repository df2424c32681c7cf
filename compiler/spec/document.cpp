#include "compiler/spec/document.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "compiler/spec/tokens.hpp"
#include "runtime/attribute.hpp"

namespace weir {
namespace {

using json = nlohmann::json;

void print_to(std::string& out, const Element& element);

void print_object(std::string& out, const Element& element) {
  out += '{';
  bool first = true;
  for (const Member& member : element.members) {
    if (is_free_key(member.key)) continue;
    if (!std::exchange(first, false)) out += ',';
    out += json(member.key).dump() + ":";
    print_to(out, member.value);
  }
  out += '}';
}

std::string print_number(double value) {
  const std::string text = shortest(value);
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

void print_to(std::string& out, const Element& element) {
  switch (element.kind) {
    case Element::Kind::null:
      out += "null";
      return;
    case Element::Kind::flag:
      out += element.flag ? "true" : "false";
      return;
    case Element::Kind::integer:
      out += std::to_string(element.integer);
      return;
    case Element::Kind::number:
      out += print_number(element.number);
      return;
    case Element::Kind::text:
      out += json(element.text).dump();
      return;
    case Element::Kind::object:
      return print_object(out, element);
    case Element::Kind::list:
      break;
  }
  out += '[';
  for (std::size_t i = 0; i < element.items.size(); ++i) {
    if (i) out += ',';
    print_to(out, element.items[i]);
  }
  out += ']';
}

}  // namespace

const Element* Element::find(std::string_view key) const {
  const auto found =
      std::find_if(members.begin(), members.end(), [&](const Member& member) { return member.key == key; });
  return found == members.end() ? nullptr : &found->value;
}

Element* Element::find(std::string_view key) { return const_cast<Element*>(std::as_const(*this).find(key)); }

bool is_free_key(std::string_view key) { return key == "$schema" || key == "$comment" || key.starts_with("x-"); }

std::string print(const Element& element) {
  std::string out;
  print_to(out, element);
  return out;
}

std::string describe(const Element& element) {
  if (element.is(Element::Kind::object)) return "an object";
  if (element.is(Element::Kind::list)) return element.items.empty() ? "an empty list" : "a list";
  return element.is(Element::Kind::text) ? quote(element.text) : print(element);
}

std::string quote(std::string_view text) {
  constexpr std::size_t longest = 80;
  std::size_t end = std::min(text.size(), longest);
  while (end < text.size() && end > 0 && is_continuation(text[end])) --end;
  const std::string inside =
      json(std::string(text.substr(0, end))).dump(-1, ' ', false, json::error_handler_t::replace);
  return end == text.size() ? inside : inside.substr(0, inside.size() - 1) + "…\"";
}

std::string pointer_to(const std::string& parent, std::string_view step) {
  std::string pointer = parent + "/";
  for (const char c : step) {
    if (c == '~' || c == '/')
      pointer += c == '~' ? "~0" : "~1";
    else
      pointer += c;
  }
  return pointer;
}

}  // namespace weir
