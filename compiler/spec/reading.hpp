// How every object of the format is read: keys first (unknown, missing, not supported yet), then values by their
// records. Each mistake is reported once, in the user's words, and what follows from it stays silent: a reader gets a
// default or nothing and goes on.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/spec/document.hpp"
#include "compiler/spec/keys.hpp"

namespace weir {

/// Where an element that stands nowhere in the file comes from.
struct Origin {
  std::string pointer;  ///< the element and everything below it
  std::string flag;     ///< "--set layers.conv_1.filters"
};

/// Collects mistakes; a place in a flag's value is told by the flag.
class Reading {
 public:
  Reading(Diagnostics& diagnostics, std::vector<Origin> origins)
      : diagnostics_(diagnostics), origins_(std::move(origins)) {}

  Diagnostic& error(std::string_view code, const Place& place, std::string message);
  Diagnostic& warning(std::string_view code, const Place& place, std::string message);
  bool has_errors() const { return diagnostics_.has_errors(); }
  /// No more mistakes are kept.
  bool full() const;
  /// "did you mean …?" where a candidate is near (or is the usual word for it), else the fallback. "" with neither.
  /// Comparing words takes time: of a file with thousands of mistakes, only the first ones get a suggestion.
  std::string suggestion(std::string_view word, const std::vector<std::string>& candidates,
                         const std::string& fallback = "");

  bool may_suggest() const { return words_compared_ < most_words_compared; }

  /// True where the element is of that kind; else the mistake is reported. what: "layers".
  bool expect(const Element& element, Element::Kind kind, std::string_view subject, std::string_view key,
              std::string_view help = "");

  std::string numerics = "keras";  ///< the file's profile: it decides defaults

 private:
  static constexpr std::size_t most_words_compared = 1'000'000;
  std::string from_flag(const Place& place, std::string message) const;

  Diagnostics& diagnostics_;
  std::vector<Origin> origins_;
  std::size_t words_compared_ = 0;
  Diagnostic dropped_;
};

/// A plain value by its record; nothing where it is wrong, which is reported then.
std::optional<AttributeValue> read_value(Reading& reading, const std::string& subject, const AttributeDef& record,
                                         const Element& element);

/// Whether a schedule stands where a number would.
inline bool is_schedule(const AttributeDef& record, const Element& element) {
  return record.scheduled && element.is(Element::Kind::object);
}

/// "an integer", "one of \"valid\", \"same\" or [[top, bottom], [left, right]]"
std::string expectation(const AttributeDef& record);
/// " of at least 1", " above 0 and at most 1", "" without a range
std::string range_text(const AttributeDef& record);

/// One object whose keys are known. Reports all mistakes in its keys when it is made.
class ObjectReader {
 public:
  /// What else may stand in the object: nothing, an op's attributes, or those of an op that could not be read.
  enum class Further { none, of_op, unknown };

  /// object: of kind object.
  ObjectReader(Reading& reading, const Element& object, std::string subject, Keys keys)
      : ObjectReader(reading, object, std::move(subject), keys, nullptr, Further::none) {}
  /// op: its attributes are keys too; null where it was not understood, then unknown keys are left alone.
  ObjectReader(Reading& reading, const Element& object, std::string subject, Keys keys, const OpDef* op)
      : ObjectReader(reading, object, std::move(subject), keys, op, op ? Further::of_op : Further::unknown) {}

  const std::string& subject() const { return subject_; }
  const Element& object() const { return object_; }
  /// Null where the key is absent or may not be used.
  const Element* find(std::string_view key) const;
  bool has(std::string_view key) const { return find(key) != nullptr; }
  /// Whether the user gave the key, also with a slip in its name (which is reported): what would follow from its
  /// absence does not.
  bool meant(std::string_view key) const;

  /// A plain value of `keys`: the file's, or the default where it is absent or wrong.
  template <class T>
  T get(std::string_view key) const {
    const KeyDef& own = *find_key(keys_, key);
    const Element* element = find(key);
    if (element && !is_later_word(own, *element))
      if (auto value = read_value(reading_, subject_, own.value, *element)) return std::get<T>(*value);
    return own.value.standard ? std::get<T>(*own.value.standard) : T{};
  }

  /// The op's attributes that the file gives, over the record's defaults.
  Attributes attributes() const;

 private:
  ObjectReader(Reading& reading, const Element& object, std::string subject, Keys keys, const OpDef* op,
               Further further);

  void check_key(const Member& member);
  void report_unknown(const Member& member);
  void check_missing();
  bool is_known(std::string_view key) const;
  bool is_later_word(const KeyDef& own, const Element& element) const;
  std::vector<std::string> known_keys() const;
  std::vector<std::string> names_of_rules() const;

  Reading& reading_;
  const Element& object_;
  std::string subject_;
  Keys keys_;
  const OpDef* op_;
  Further further_;
  std::vector<std::string> misspelt_ = {};
};

/// The op that `element` names for one of the roles; null where there is none, which is reported. what: "layer type".
const OpDef* read_op(Reading& reading, const std::string& subject, const Element& element, std::string_view what,
                     const std::vector<Role>& roles, const std::vector<std::string_view>& later);

/// Names of the ops of some roles that a specification can use.
std::vector<std::string> op_names(const std::vector<Role>& roles);
/// "linear" and the names of the ops that can be an activation.
std::vector<std::string> activation_names();

/// Reports a name that is none: the pattern, its length, reserved ones. place: of the name.
bool check_name(Reading& reading, const std::string& name, const Place& place, std::string_view what,
                const std::vector<std::string_view>& reserved);

}  // namespace weir
