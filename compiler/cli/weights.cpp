// weir weights: init writes initial parameters, list shows what is in a file, diff compares two.
#include <algorithm>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "compiler/cli/commands.hpp"
#include "compiler/cli/exit_codes.hpp"
#include "compiler/cli/model.hpp"
#include "compiler/cli/text.hpp"
#include "compiler/cli/weight_files.hpp"

namespace weir::cli {
namespace {

double element(const Tensor& tensor, std::int64_t index) {
  switch (tensor.dtype) {
    case DType::f32:
      return tensor.data<float>()[index];
    case DType::i32:
      return tensor.data<std::int32_t>()[index];
    case DType::f64:
      return tensor.data<double>()[index];
    case DType::u8:
      return tensor.data<std::uint8_t>()[index];
  }
  return 0;
}

/// Of the finite entries; the others are counted.
struct Summary {
  double least = INFINITY, most = -INFINITY, squares = 0;
  std::int64_t count = 0, not_finite = 0;
  double rms() const { return count > 0 ? std::sqrt(squares / static_cast<double>(count)) : 0; }
};

Summary summarize(const Tensor& tensor) {
  Summary summary;
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    const double value = element(tensor, i);
    if (!std::isfinite(value)) {
      ++summary.not_finite;
      continue;
    }
    ++summary.count;
    summary.least = std::min(summary.least, value);
    summary.most = std::max(summary.most, value);
    summary.squares += value * value;
  }
  return summary;
}

Json tensor_json(const std::string& name, const Tensor& tensor) {
  const Summary summary = summarize(tensor);
  return {{"name", name},
          {"dtype", to_string(tensor.dtype)},
          {"shape", tensor.dims},
          {"least", json_number(summary.least)},
          {"most", json_number(summary.most)},
          {"rms", json_number(summary.rms())},
          {"not_finite", summary.not_finite}};
}

struct Difference {
  std::string name;
  std::string what;          ///< "only in the first", a shape, or ""
  double largest = 0;        ///< |after − before|
  std::int64_t entries = 0;  ///< that differ
};

Difference compare(const std::string& name, const Tensor& before, const Tensor& after) {
  Difference difference{name, "", 0, 0};
  if (before.dims != after.dims || before.dtype != after.dtype) {
    difference.what = fmt::format("{}{} became {}{}", to_string(before.dtype), to_string(before.dims),
                                  to_string(after.dtype), to_string(after.dims));
    return difference;
  }
  const std::size_t size = size_of(before.dtype);
  for (std::int64_t i = 0; i < before.count(); ++i) {
    const std::size_t at = static_cast<std::size_t>(i) * size;
    if (std::memcmp(before.bytes.data() + at, after.bytes.data() + at, size) == 0) continue;
    ++difference.entries;
    const double distance = std::abs(element(before, i) - element(after, i));
    if (!(distance <= difference.largest)) difference.largest = distance;
  }
  return difference;
}

std::vector<Difference> compare(const std::map<std::string, Tensor>& before,
                                const std::map<std::string, Tensor>& after) {
  std::vector<Difference> all;
  for (const auto& [name, tensor] : before) {
    const auto other = after.find(name);
    if (other == after.end())
      all.push_back({name, "only in the first", 0, 0});
    else
      all.push_back(compare(name, tensor, other->second));
  }
  for (const auto& [name, tensor] : after)
    if (!before.contains(name)) all.push_back({name, "only in the second", 0, 0});
  return all;
}

bool equal(const Difference& difference) { return difference.what.empty() && difference.entries == 0; }

std::string difference_text(const Difference& difference) {
  if (equal(difference)) return "equal";
  if (!difference.what.empty()) return difference.what;
  return fmt::format("{} entries differ, by at most {}", with_separators(difference.entries),
                     number_text(difference.largest));
}

}  // namespace

int run_weights_init(const WeightsInitOptions& options, const Console& console) {
  const Model model = load_model(options.model, console, {}, false);
  CompileOptions compile_options;
  compile_options.train = compile_options.evaluate = false;
  const auto plan = plan_of(model, options.model, compile_options, console);
  const Session session(plan, {.seed = options.seed.value_or(plan->training.seed)});
  session.save_weights(options.output);
  if (console.json)
    console.out << Json{{"file", options.output}, {"parameters", plan->parameters.size()}}.dump(2) << '\n';
  else
    console.out << fmt::format("wrote {}: initial values of {} parameters\n", options.output, plan->parameters.size());
  return done;
}

int run_weights_list(const WeightsListOptions& options, const Console& console) {
  const auto weights = read_weights({options.file});
  if (console.json) {
    Json json = Json::array();
    for (const auto& [name, tensor] : weights) json.push_back(tensor_json(name, tensor));
    console.out << json.dump(2) << '\n';
    return done;
  }
  std::vector<std::vector<std::string>> rows{{"parameter", "type", "shape", "numbers", "least", "most", "rms"}};
  std::int64_t total = 0;
  for (const auto& [name, tensor] : weights) {
    const Summary summary = summarize(tensor);
    total += tensor.count();
    rows.push_back({name, std::string(to_string(tensor.dtype)), to_string(tensor.dims), with_separators(tensor.count()),
                    number_text(summary.least), number_text(summary.most), number_text(summary.rms())});
    if (summary.not_finite > 0) rows.back().back() += fmt::format(" ({} not finite)", summary.not_finite);
  }
  console.out << table_text(rows, "lllrrrr")
              << fmt::format("{} parameters, {} numbers\n", weights.size(), with_separators(total));
  return done;
}

int run_weights_diff(const WeightsDiffOptions& options, const Console& console) {
  const std::vector<Difference> all = compare(read_weights({options.before}), read_weights({options.after}));
  const auto different = std::count_if(all.begin(), all.end(), [](const Difference& each) { return !equal(each); });
  if (console.json) {
    Json json{{"identical", different == 0}, {"parameters", Json::array()}};
    for (const Difference& each : all)
      json["parameters"].push_back({{"name", each.name},
                                    {"equal", equal(each)},
                                    {"differing", each.entries},
                                    {"largest", json_number(each.largest)},
                                    {"what", difference_text(each)}});
    console.out << json.dump(2) << '\n';
    return done;
  }
  std::vector<std::vector<std::string>> rows{{"parameter", "difference"}};
  for (const Difference& each : all) rows.push_back({each.name, difference_text(each)});
  console.out << table_text(rows, "ll");
  console.out << (different == 0 ? "identical, bit for bit\n"
                                 : fmt::format("{} of {} differ\n", different, all.size()));
  return done;
}

}  // namespace weir::cli
