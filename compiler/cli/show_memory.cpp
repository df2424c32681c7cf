#include "compiler/cli/show_memory.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/cli/svg.hpp"

namespace weir::cli {
namespace {

std::size_t index(int id) { return static_cast<std::size_t>(id); }

std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

/// At most `most` characters of the names, and how many there are.
std::string names_text(const std::vector<std::string>& names, std::size_t most) {
  if (names.empty()) return "nothing";
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!text.empty() && text.size() + names[i].size() > most)
      return text + fmt::format(", and {} more", names.size() - i);
    text += (i ? ", " : "") + names[i];
  }
  return text;
}

/// At most so many, evenly by size, the first and the last among them.
std::vector<const MemoryPoint*> thinned(const std::vector<MemoryPoint>& points, std::size_t most) {
  std::vector<const MemoryPoint*> chosen;
  const auto size = [](const MemoryPoint& point) { return static_cast<double>(point.arena_bytes); };
  for (const MemoryPoint& point : points) {
    const bool end = &point == &points.front() || &point == &points.back();
    const double apart = (size(points.front()) - size(points.back())) / static_cast<double>(most - 1);
    if (end || size(*chosen.back()) - size(point) >= apart) chosen.push_back(&point);
  }
  return chosen;
}

std::string curve_table(const Plan& plan, const MemoryCurve& curve) {
  std::vector<std::vector<std::string>> rows{
      {"arena", "together", "time", "FLOPs", "bytes moved", "steps", "computed again"}};
  for (const MemoryPoint* point : thinned(curve.points, 12))
    rows.push_back({bytes_text(point->arena_bytes), bytes_text(plan.store_bytes + point->arena_bytes),
                    "+" + percent(point->time), "+" + number_text(point->flops), "+" + bytes_text(point->bytes),
                    "+" + std::to_string(point->again.size()), names_text(point->again, 60)});
  return table_text(rows, "rrrrrrl");
}

/// Memory upwards, time to the right.
std::string curve_chart(const Plan& plan, const MemoryCurve& curve) {
  constexpr std::size_t rows = 10, columns = 56;
  if (curve.points.size() < 2) return "";
  const auto total = [&](const MemoryPoint& point) {
    return static_cast<double>(plan.store_bytes + point.arena_bytes);
  };
  const double most = total(curve.points.front()), least = total(curve.points.back());
  const double longest = std::max(curve.points.back().time, 1e-9);
  std::vector<std::string> lines(rows, std::string(columns, ' '));
  const auto cell = [](double share, std::size_t cells) {
    return static_cast<std::size_t>(std::lround(std::clamp(share, 0.0, 1.0) * static_cast<double>(cells - 1)));
  };
  for (const MemoryPoint& point : curve.points)
    lines[cell((most - total(point)) / (most - least), rows)][cell(point.time / longest, columns)] = '*';
  std::string text;
  for (std::size_t row = 0; row < rows; ++row) {
    const double at = most - (most - least) * static_cast<double>(row) / (rows - 1);
    lines[row].erase(lines[row].find_last_not_of(' ') + 1);
    text += fmt::format("{:>10} |{}\n", bytes_text(static_cast<std::uint64_t>(at)), lines[row]);
  }
  return text + fmt::format("{:>10} +{}\n{:>10}  0 %{:>{}}\n", "", std::string(columns, '-'), "",
                            percent(longest) + " more time", columns - 3);
}

/// Rows of the picture: as many steps together as keep it short.
std::string live_text(const Program& program, const ArenaPicture& picture) {
  constexpr int most_rows = 40;
  const int steps = static_cast<int>(program.compute.size());
  const int together = std::max(1, (steps + most_rows - 1) / most_rows);
  std::vector<std::vector<std::string>> rows{{"step", "", "live", ""}};
  for (int from = 1; from <= steps; from += together) {
    const int to = std::min(from + together - 1, steps);
    const auto fullest = std::max_element(picture.live.begin() + from, picture.live.begin() + to + 1);
    const int at = static_cast<int>(fullest - picture.live.begin());
    const double share = static_cast<double>(*fullest) / std::max(static_cast<double>(program.arena_bytes), 1.0);
    rows.push_back({from == to ? std::to_string(from) : fmt::format("{}-{}", from, to),
                    program.compute[index(at - 1)].node, bytes_text(*fullest),
                    std::string(static_cast<std::size_t>(std::lround(40 * std::min(share, 1.0))), '#') +
                        (at == picture.fullest ? " fullest" : "")});
  }
  return table_text(rows, "rlrl");
}

/// Buffers in use at the fullest time, largest first.
std::vector<ArenaLife> at_the_fullest(const ArenaPicture& picture) {
  std::vector<ArenaLife> lives;
  for (const ArenaLife& life : picture.lives)
    if (life.first <= picture.fullest && picture.fullest <= life.last) lives.push_back(life);
  std::stable_sort(lives.begin(), lives.end(), [](const ArenaLife& a, const ArenaLife& b) {
    return byte_count(*a.buffer) > byte_count(*b.buffer);
  });
  return lives;
}

std::string life_text(const Program& program, const ArenaLife& life) {
  const int end = static_cast<int>(program.compute.size()) + 1;
  return fmt::format("{} to {}", life.first == 0 ? "start" : std::to_string(life.first),
                     life.last == end ? "end" : std::to_string(life.last));
}

std::string fullest_text(const Program& program, const ArenaPicture& picture) {
  constexpr std::size_t most_rows = 12;
  std::vector<std::vector<std::string>> rows{{"largest then", "", "bytes", "steps"}};
  const std::vector<ArenaLife> lives = at_the_fullest(picture);
  for (std::size_t i = 0; i < std::min(lives.size(), most_rows); ++i)
    rows.push_back({lives[i].buffer->name, std::string(to_string(lives[i].buffer->kind)),
                    bytes_text(byte_count(*lives[i].buffer)), life_text(program, lives[i])});
  return table_text(rows, "llrl") +
         (lives.size() > most_rows ? fmt::format("and {} more\n", lives.size() - most_rows) : "");
}

std::string step_name(const Program& program, int time) {
  const bool inside = time >= 1 && index(time) <= program.compute.size();
  return inside ? program.compute[index(time - 1)].node : time < 1 ? "before the first step" : "after the last step";
}

/// Bytes covered by the buffers that live then.
std::uint64_t covered(const std::vector<ArenaLife>& lives, int time) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> spans;
  for (const ArenaLife& life : lives)
    if (life.first <= time && time <= life.last)
      spans.emplace_back(life.buffer->offset, life.buffer->offset + (byte_count(*life.buffer) + 63) / 64 * 64);
  std::sort(spans.begin(), spans.end());
  std::uint64_t sum = 0, end = 0;
  for (const auto& [from, to] : spans) {
    sum += to > std::max(from, end) ? to - std::max(from, end) : 0;
    end = std::max(end, to);
  }
  return sum;
}

/// Told apart with every common kind of colour blindness, as in the other drawings.
const char* colour_of(BufferClass kind) {
  switch (kind) {
    case BufferClass::activation:
      return "#56b4e9";
    case BufferClass::gradient:
      return "#e69f00";
    case BufferClass::copy:
      return "#009e73";
    case BufferClass::scratch:
      return "#999999";
    default:
      return "#cc79a7";
  }
}

/// Where values are computed again and nobody asked for that: why, and how to keep them.
std::string default_text(const Plan& plan, const MemoryCurve& curve, const Program& program) {
  const auto taken = std::find_if(curve.points.begin(), curve.points.end(), [&](const MemoryPoint& point) {
    return point.arena_bytes == program.arena_bytes && !point.again.empty();
  });
  if (taken == curve.points.end()) return "";
  return fmt::format("taken: {} of arena for +{}; --memory-budget {} keeps everything\n",
                     bytes_text(taken->arena_bytes), percent(taken->time),
                     plan.store_bytes + curve.points.front().arena_bytes);
}

}  // namespace

ArenaPicture picture_of(const Program& program) {
  const int end = static_cast<int>(program.compute.size()) + 1;
  ArenaPicture picture;
  for (const Buffer& buffer : program.buffers) picture.lives.push_back({&buffer, end + 1, -1});
  const auto use = [&](BufferRef ref, int time) {
    if (ref.space != BufferRef::Space::arena) return;
    ArenaLife& life = picture.lives[index(ref.index)];
    life = {life.buffer, std::min(life.first, time), std::max(life.last, time)};
  };
  const auto bound = [&](const auto& bindings, int time) {
    for (const auto& binding : bindings) use({BufferRef::Space::arena, binding.buffer}, time);
  };
  for (const Step& step : program.refresh)
    for (std::size_t i = 0; i < step.operands.size(); ++i) {
      use(step.operands[i], 0);
      if (step.operands[i].space == BufferRef::Space::arena &&
          program.buffers[index(step.operands[i].index)].kind == BufferClass::copy)
        use(step.operands[i], end);
    }
  for (std::size_t i = 0; i < program.compute.size(); ++i)
    for (BufferRef ref : program.compute[i].operands) use(ref, static_cast<int>(i) + 1);
  for (const Step& step : program.commit)
    for (BufferRef ref : step.operands) use(ref, end);
  bound(program.inputs, 0);
  bound(program.outputs, end);
  bound(program.gradients, end);
  for (int time = 0; time <= end; ++time) picture.live.push_back(covered(picture.lives, time));
  picture.fullest = static_cast<int>(std::max_element(picture.live.begin(), picture.live.end()) - picture.live.begin());
  return picture;
}

std::uint64_t memory_bytes(const Plan& plan) { return plan.store_bytes + plan.arena_bytes(); }

std::string memory_text(const Plan& plan, const Program& program, const std::vector<MemoryCurve>& curves) {
  std::string text =
      fmt::format("{}: {} together: {} for parameters, statistics and optimizer state, {} for the arena\n", plan.model,
                  bytes_text(memory_bytes(plan)), bytes_text(plan.store_bytes), bytes_text(plan.arena_bytes()));
  for (const MemoryCurve& curve : curves) {
    text += fmt::format("\n{} {}: smaller arenas, and what they cost (estimated)\n{}", to_string(curve.kind),
                        curve.batch, curve_table(plan, curve));
    if (const Program* trained = plan.find(curve.kind, curve.batch)) text += default_text(plan, curve, *trained);
    if (const std::string chart = curve_chart(plan, curve); !chart.empty()) text += '\n' + chart;
  }
  const ArenaPicture picture = picture_of(program);
  text +=
      fmt::format("\n{} {}: the arena step by step; fullest at {} with {} of {}\n{}\n{}", to_string(program.kind),
                  program.batch, step_name(program, picture.fullest), bytes_text(picture.live[index(picture.fullest)]),
                  bytes_text(program.arena_bytes), live_text(program, picture), fullest_text(program, picture));
  return text;
}

Json memory_json(const Plan& plan, const Program& program, const std::vector<MemoryCurve>& curves) {
  Json json{{"model", plan.model},
            {"memory_bytes", memory_bytes(plan)},
            {"store_bytes", plan.store_bytes},
            {"arena_bytes", plan.arena_bytes()}};
  json["curves"] = Json::array();
  for (const MemoryCurve& curve : curves) {
    Json points = Json::array();
    for (const MemoryPoint& point : curve.points)
      points.push_back({{"arena_bytes", point.arena_bytes},
                        {"memory_bytes", plan.store_bytes + point.arena_bytes},
                        {"added_flops", point.flops},
                        {"added_bytes", point.bytes},
                        {"added_time", point.time},
                        {"again", point.again}});
    json["curves"].push_back({{"kind", to_string(curve.kind)}, {"batch", curve.batch}, {"points", std::move(points)}});
  }
  const ArenaPicture picture = picture_of(program);
  Json steps = Json::array(), buffers = Json::array();
  for (std::size_t i = 0; i < program.compute.size(); ++i)
    steps.push_back({{"node", program.compute[i].node}, {"live_bytes", picture.live[i + 1]}});
  for (const ArenaLife& life : picture.lives)
    buffers.push_back({{"name", life.buffer->name},
                       {"class", to_string(life.buffer->kind)},
                       {"offset", life.buffer->offset},
                       {"bytes", byte_count(*life.buffer)},
                       {"first", life.first},
                       {"last", life.last}});
  json["program"] = {{"kind", to_string(program.kind)},    {"batch", program.batch},
                     {"arena_bytes", program.arena_bytes}, {"lower_bound", program.lower_bound},
                     {"fullest", picture.fullest},         {"steps", std::move(steps)},
                     {"buffers", std::move(buffers)}};
  return json;
}

std::string memory_svg(const Plan& plan, const Program& program) {
  constexpr double width = 960, height = 480, left = 80, top = 56, right = 20, bottom = 40;
  const ArenaPicture picture = picture_of(program);
  const auto times = static_cast<double>(picture.live.size());
  const double bytes = std::max(static_cast<double>(program.arena_bytes), 1.0);
  const auto x = [&](double time) { return left + (width - left - right) * time / times; };
  const auto y = [&](double at) { return height - bottom - (height - top - bottom) * at / bytes; };
  std::string text = fmt::format(
      R"svg(<svg xmlns="http://www.w3.org/2000/svg" width="{0:.0f}" height="{1:.0f}" viewBox="0 0 {0:.0f} {1:.0f}" )svg"
      R"svg(font-family="sans-serif" font-size="12">)svg"
      "\n<rect width=\"{0:.0f}\" height=\"{1:.0f}\" fill=\"#ffffff\"/>\n",
      width, height);
  const std::string heading = fmt::format("{}: the arena of {} {}, {}", plan.model, to_string(program.kind),
                                          program.batch, bytes_text(program.arena_bytes));
  text += fmt::format("<title>{0}</title>\n<text x=\"{1:.0f}\" y=\"22\" font-size=\"15\">{0}</text>\n",
                      xml_escaped(heading), left);
  double at = left;
  for (BufferClass kind :
       {BufferClass::activation, BufferClass::gradient, BufferClass::copy, BufferClass::scratch, BufferClass::input}) {
    text += fmt::format(
        "<rect x=\"{:.1f}\" y=\"32\" width=\"12\" height=\"12\" fill=\"{}\"/>"
        "<text x=\"{:.1f}\" y=\"42\">{}</text>\n",
        at, colour_of(kind), at + 17, to_string(kind));
    at += 110;
  }
  for (const ArenaLife& life : picture.lives) {
    if (life.last < life.first) continue;
    const auto from = static_cast<double>(life.buffer->offset);
    const double to = from + static_cast<double>(byte_count(*life.buffer));
    text += fmt::format(
        "<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" fill=\"{}\" "
        "stroke=\"#ffffff\" stroke-width=\"0.4\"><title>{}</title></rect>\n",
        x(life.first), y(to), x(life.last + 1) - x(life.first), y(from) - y(to), colour_of(life.buffer->kind),
        xml_escaped(fmt::format("{}: {}, {}, steps {}", life.buffer->name, to_string(life.buffer->kind),
                                bytes_text(byte_count(*life.buffer)), life_text(program, life))));
  }
  text += fmt::format(
      "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\" stroke=\"#000000\" "
      "stroke-dasharray=\"3 3\"/>\n",
      x(picture.fullest + 0.5), y(bytes), y(0));
  text += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">fullest: {}</text>\n",
                      x(picture.fullest + 0.5), height - bottom + 18, xml_escaped(step_name(program, picture.fullest)));
  for (int part = 0; part <= 4; ++part)
    text += fmt::format("<text x=\"{:.0f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", left - 8,
                        y(bytes * part / 4) + 4, bytes_text(static_cast<std::uint64_t>(bytes * part / 4)));
  return text + "</svg>\n";
}

}  // namespace weir::cli
