#include <algorithm>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/spec/limits.hpp"
#include "compiler/spec/schedules.hpp"

namespace weir {
namespace {

using Kind = Element::Kind;
using Curve = Schedule::Curve;

class ScheduleReader {
 public:
  ScheduleReader(Reading& reading, const std::string& subject, const AttributeDef& record)
      : reading_(reading), subject_(fmt::format("{}: {}", subject, record.name)), record_(record) {}

  std::optional<Schedule> read(const Element& element) {
    if (!read_type(element)) return std::nullopt;
    const bool pieces = schedule_.curve == Curve::piecewise;
    const ObjectReader reader(reading_, element, subject_, pieces ? piecewise_keys() : curve_keys());
    schedule_.per_epoch = reader.get<std::string>("per") == "epoch";
    if (pieces)
      read_pieces(reader);
    else
      read_curve(reader);
    if (!good_ || !fault_of(schedule_, std::numeric_limits<double>::lowest()).empty()) return std::nullopt;
    return schedule_;
  }

 private:
  void refuse(std::string_view code, const Place& place, const std::string& what, std::string_view help = "") {
    good_ = false;
    reading_.error(code, place, fmt::format("{}: {}", subject_, what)).help = help;
  }

  bool read_type(const Element& element) {
    const Element* type = element.find("type");
    std::vector<std::string> known;
    for (const Curve curve : {Curve::linear, Curve::cosine, Curve::exponential, Curve::piecewise}) {
      known.emplace_back(to_string(curve));
      if (type && type->is(Kind::text) && type->text == known.back()) {
        schedule_.curve = curve;
        return true;
      }
    }
    const std::string list = fmt::format("known: {}", fmt::join(known, ", "));
    if (!type)
      refuse("E0202", element.place, "a schedule needs a \"type\"", list);
    else if (!type->is(Kind::text))
      refuse("E0203", type->place, fmt::format("\"type\" must be a string, found {}", describe(*type)), list);
    else
      refuse("E0205", type->place, fmt::format("unknown schedule {}", quote(type->text)),
             reading_.suggestion(type->text, known, list));
    return false;
  }

  /// A value of the curve, in the range of the key that it stands for.
  double number(const Element& element, std::string_view name) {
    AttributeDef record = record_;
    record.name = name;
    record.scheduled = false;
    const auto value = read_value(reading_, subject_, record, element);
    good_ = good_ && value;
    return value ? std::get<double>(*value) : 0;
  }

  std::optional<double> whole(const ObjectReader& reader, std::string_view name) {
    const Element* element = reader.find(name);
    const AttributeDef& record = find_key(curve_keys(), name)->value;
    if (!element) {
      good_ = good_ && record.standard;
      return record.standard ? std::optional(static_cast<double>(std::get<std::int64_t>(*record.standard)))
                             : std::nullopt;
    }
    const auto value = read_value(reading_, subject_, record, *element);
    good_ = good_ && value;
    return value ? std::optional(static_cast<double>(std::get<std::int64_t>(*value))) : std::nullopt;
  }

  void read_curve(const ObjectReader& reader) {
    const Element *from = reader.find("from"), *to = reader.find("to");
    good_ = from && to;
    if (from) schedule_.from = number(*from, "from");
    if (to) schedule_.to = number(*to, "to");
    schedule_.start = whole(reader, "start").value_or(0);
    schedule_.length = whole(reader, "length").value_or(1);
    if (!good_ || schedule_.curve != Curve::exponential || schedule_.from * schedule_.to > 0) return;
    const bool at_from = schedule_.from == 0;
    refuse("E0423", (at_from ? from : to)->place,
           fmt::format("an exponential curve from {} to {} cannot pass through 0", shortest(schedule_.from),
                       shortest(schedule_.to)),
           "take a small number instead of 0, or the type linear");
  }

  void read_pieces(const ObjectReader& reader) {
    const Element *boundaries = reader.find("boundaries"), *values = reader.find("values");
    good_ = boundaries && values;
    if (boundaries) read_boundaries(*boundaries);
    if (values && reading_.expect(*values, Kind::list, subject_, "values", "a list of numbers")) {
      for (const Element& item : values->items) schedule_.values.push_back(number(item, "values"));
    } else {
      good_ = false;
    }
    if (!good_ || values->items.size() == boundaries->items.size() + 1) return;
    refuse("E0423", values->place,
           fmt::format("{} boundaries need {} values, found {}", boundaries->items.size(), boundaries->items.size() + 1,
                       values->items.size()),
           "the first value holds up to the first boundary, the last one after the last");
  }

  void read_boundaries(const Element& boundaries) {
    if (!reading_.expect(boundaries, Kind::list, subject_, "boundaries", "a list of counts, such as [100, 200]"))
      return void(good_ = false);
    if (boundaries.items.size() > limits::layers)
      return refuse("E0104", boundaries.place, fmt::format("at most {} boundaries are possible", limits::layers));
    const AttributeDef record{
        .name = "boundaries", .type = AttributeType::integer, .doc = "", .least = 0, .most = most_count};
    for (const Element& item : boundaries.items) {
      const auto value = read_value(reading_, subject_, record, item);
      good_ = good_ && value;
      if (!value) continue;
      const auto boundary = static_cast<double>(std::get<std::int64_t>(*value));
      if (good_ && !schedule_.boundaries.empty() && boundary <= schedule_.boundaries.back())
        refuse("E0423", item.place,
               fmt::format("\"boundaries\" must ascend, but {} stands after {}", shortest(boundary),
                           shortest(schedule_.boundaries.back())));
      schedule_.boundaries.push_back(boundary);
    }
  }

  static constexpr double most_count = 2147483647;

  Reading& reading_;
  std::string subject_;
  const AttributeDef& record_;
  Schedule schedule_;
  bool good_ = true;
};

}  // namespace

std::optional<Schedule> read_schedule(Reading& reading, const std::string& subject, const AttributeDef& record,
                                      const Element& element) {
  return ScheduleReader(reading, subject, record).read(element);
}

}  // namespace weir
