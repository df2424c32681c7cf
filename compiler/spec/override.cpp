#include "compiler/spec/override.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace weir {
namespace {

using Kind = Element::Kind;

std::vector<std::string> split(std::string_view path) {
  std::vector<std::string> steps;
  for (std::size_t dot = path.find('.'); dot != std::string_view::npos; dot = path.find('.')) {
    steps.emplace_back(path.substr(0, dot));
    path.remove_prefix(dot + 1);
  }
  steps.emplace_back(path);
  return steps;
}

/// Everything in the value stands nowhere in the file; pointers are those it gets in the document.
void move_to(Element& element, const std::string& pointer) {
  element.place = {0, 0, 1, pointer};
  for (std::size_t i = 0; i < element.items.size(); ++i)
    move_to(element.items[i], pointer_to(pointer, std::to_string(i)));
  for (Member& member : element.members) {
    member.place = {0, 0, 1, pointer_to(pointer, member.key)};
    move_to(member.value, member.place.pointer);
  }
}

Element text_element(const std::string& text) {
  Element element;
  element.kind = Kind::text;
  element.text = text;
  return element;
}

/// The value of a flag: JSON, or else the text itself.
Element value_of(const std::string& text) {
  Diagnostics ignored;
  auto value = parse_document(text, ignored);
  return value && ignored.all().empty() ? std::move(*value) : text_element(text);
}

std::string name_of(const Element& element) {
  const Element* name = element.find("name");
  return name && name->is(Kind::text) ? name->text : "";
}

/// An entry of a list by its name, or by its index where entries have none.
Element* entry_of(Element& list, const std::string& step) {
  const auto named =
      std::find_if(list.items.begin(), list.items.end(), [&](const Element& item) { return name_of(item) == step; });
  if (named != list.items.end() && !step.empty()) return &*named;
  std::size_t index = list.items.size();
  const auto [end, error] = std::from_chars(step.data(), step.data() + step.size(), index);
  const bool valid = error == std::errc() && end == step.data() + step.size() && index < list.items.size();
  return valid && name_of(list.items[index]).empty() ? &list.items[index] : nullptr;
}

std::vector<std::string> steps_below(const Element& element) {
  std::vector<std::string> steps;
  for (const Member& member : element.members) steps.push_back(member.key);
  for (const Element& item : element.items) steps.push_back(name_of(item));
  return steps;
}

class Overrides {
 public:
  Overrides(Element& root, Diagnostics& diagnostics) : root_(root), diagnostics_(diagnostics) {}

  void set(const std::string& path, const std::string& text) {
    const std::string flag = fmt::format("--set {}", path);
    const std::vector<std::string> steps = split(path);
    Element* target = &root_;
    std::string way = "the file";
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const bool last = i + 1 == steps.size();
      Element* next = step_into(*target, steps[i], last);
      if (!next) return report(flag, *target, way, steps[i]);
      target = next;
      way = quote(fmt::format("{}", fmt::join(steps.begin(), steps.begin() + static_cast<std::ptrdiff_t>(i) + 1, ".")));
    }
    replace(*target, value_of(text), flag);
  }

  void exclude(const std::string& name) {
    const std::string flag = fmt::format("--exclude {}", name);
    Element* loss = root_.is(Kind::object) ? root_.find("loss") : nullptr;
    if (!loss || !loss->is(Kind::object)) {
      diagnostics_.error("E0106", {}, flag + ": the file has no \"loss\" to leave something out of");
      return;
    }
    Element* list = loss->find("exclude");
    if (!list) {
      list = &append(*loss, "exclude");
      list->kind = Kind::list;
    }
    if (!list->is(Kind::list)) return;  // the reader reports it
    const std::string pointer = pointer_to(list->place.pointer, std::to_string(list->items.size()));
    list->items.push_back(text_element(name));
    replace(list->items.back(), text_element(name), flag, pointer);
  }

  std::vector<Origin> origins;

 private:
  Element& append(Element& object, const std::string& key) {
    Place place{0, 0, 1, pointer_to(object.place.pointer, key)};
    object.members.push_back({key, place, {}});
    object.members.back().value.place = place;
    return object.members.back().value;
  }

  /// The last step may name a key that is not there yet.
  Element* step_into(Element& element, const std::string& step, bool last) {
    if (element.is(Kind::list)) return entry_of(element, step);
    if (!element.is(Kind::object) || step.empty()) return nullptr;
    Element* found = element.find(step);
    return found || !last ? found : &append(element, step);
  }

  void report(const std::string& flag, const Element& element, const std::string& way, const std::string& step) {
    const std::vector<std::string> steps = steps_below(element);
    Diagnostic& diagnostic = diagnostics_.error("E0106", {}, fmt::format("{}: {} has no {}", flag, way, quote(step)));
    const std::string near = nearest(step, steps);
    if (!near.empty())
      diagnostic.help = fmt::format("did you mean \"{}\"?", near);
    else if (!steps.empty() && steps.size() <= 20)
      diagnostic.help = fmt::format("there: {}", fmt::join(steps, ", "));
  }

  void replace(Element& element, Element value, const std::string& flag) {
    replace(element, std::move(value), flag, element.place.pointer);
  }

  /// pointer: by value, since the element that may own it is replaced.
  void replace(Element& element, Element value, const std::string& flag, std::string pointer) {
    origins.push_back({pointer, flag});
    element = std::move(value);
    move_to(element, pointer);
  }

  Element& root_;
  Diagnostics& diagnostics_;
};

}  // namespace

std::vector<Origin> apply_overrides(Element& root, const SpecOverrides& overrides, Diagnostics& diagnostics) {
  Overrides document(root, diagnostics);
  for (const auto& [path, value] : overrides.set) document.set(path, value);
  for (const std::string& name : overrides.exclude) document.exclude(name);
  return std::move(document.origins);
}

}  // namespace weir
