#include "compiler/cli/progress.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "compiler/cli/report.hpp"

namespace weir::cli {
namespace {

constexpr auto between_drawings = std::chrono::milliseconds(100);

/// At most `columns` code points: a line that wraps could not be drawn over.
std::string cut(const std::string& text, std::size_t columns) {
  std::size_t end = 0;
  for (std::size_t seen = 0; end < text.size(); ++end) {
    const bool starts = (static_cast<unsigned char>(text[end]) & 0xC0) != 0x80;
    if (starts && seen++ == columns) break;
  }
  return text.substr(0, end);
}

}  // namespace

Progress::Progress(const Console& console, std::int64_t epochs, std::uint64_t steps)
    : console_(console), epochs_(epochs), steps_(steps) {}

Progress::~Progress() { clear(); }

void Progress::clear() {
  if (!visible_) return;
  console_.err << "\r\x1b[2K" << std::flush;
  visible_ = false;
}

/// From the mean time of a step so far; validation is not counted.
double Progress::seconds_left(const StepEvent& event) const {
  const auto all = static_cast<std::uint64_t>(epochs_ * event.batches);
  const std::uint64_t last = steps_ == 0 ? all : std::min(steps_, all);
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  return last > done_ ? elapsed / static_cast<double>(done_) * static_cast<double>(last - done_) : 0;
}

std::string Progress::line(const StepEvent& event) const {
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  const auto rate = static_cast<std::int64_t>(static_cast<double>(samples_) / std::max(elapsed, 1e-9));
  std::string text = fmt::format("epoch {}/{}  {}/{}  ETA {}  total {}", event.epoch, epochs_, event.batch,
                                 event.batches, duration_text(seconds_left(event)), number_text(event.result.total));
  for (const TermValue& term : event.result.terms) text += fmt::format("  {} {}", term.name, number_text(term.value));
  for (const auto& [name, value] : event.result.metrics) text += fmt::format("  {} {}", name, number_text(value));
  text += fmt::format("  {} samples/s", with_separators(rate));
  return text;
}

void Progress::step(const StepEvent& event) {
  samples_ += event.samples;
  ++done_;
  if (!console_.animate) {
    if (done_ == 1)
      console_.err << fmt::format("step {}: {}\n", event.step, sum_text(event.result.total, event.result.terms))
                   << std::flush;
    return;
  }
  const auto now = Clock::now();
  if (visible_ && now - drawn_ < between_drawings) return;
  drawn_ = now;
  visible_ = true;
  console_.err << "\r\x1b[2K" << cut(line(event), static_cast<std::size_t>(std::max(20, console_.columns - 1)))
               << std::flush;
}

void Progress::epoch(const EpochEvent& event) {
  clear();
  const auto rate = static_cast<std::int64_t>(static_cast<double>(event.train.samples) / std::max(event.seconds, 1e-9));
  std::string text = fmt::format("epoch {}/{}  {:.1f} s  {} samples/s  train: {}", event.epoch, epochs_, event.seconds,
                                 with_separators(rate), values_text(event.train));
  if (event.validation) text += fmt::format("  validation: {}", values_text(*event.validation));
  console_.err << text << '\n' << empty_text(event.train);
  if (event.validation) console_.err << empty_text(*event.validation);
  console_.err << std::flush;
}

}  // namespace weir::cli
