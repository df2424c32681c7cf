#include "compiler/cli/layered_layout.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace weir::cli {
namespace {

constexpr double column_gap = 26, least_gap = 50, most_gap = 130, flattest = 9;
constexpr double end_margin = 20, least_end_gap = 2;
constexpr int order_sweeps = 12, place_sweeps = 40;

/// A box, or a place in a row where a long edge passes.
struct Item {
  int row = 0;
  double width = 0, height = 0;
  std::vector<std::size_t> above, below;  ///< neighbours
  double center = 0;
  bool passing = false;
};

class LayeredLayout {
 public:
  LayeredLayout(const std::vector<LayoutBox>& boxes, const std::vector<LayoutEdge>& edges) : edges_(edges) {
    for (const LayoutBox& box : boxes) items_.push_back({0, box.width, box.height, {}, {}, 0, false});
    box_count_ = boxes.size();
    widen_for_ends();
    choose_rows();
    lead_long_edges();
    for (std::size_t i = 0; i < items_.size(); ++i) rows_[static_cast<std::size_t>(items_[i].row)].push_back(i);
    order();
    place();
  }

  Layout result() const {
    Layout layout;
    std::vector<double> top{0}, bottom;
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      bottom.push_back(top.back() + row_height(rows_[row]));
      top.push_back(bottom.back() + gap_below(row));
    }
    layout.height = bottom.back();
    double left = std::numeric_limits<double>::infinity(), right = -left;
    for (const Item& item : items_) {
      left = std::min(left, item.center - item.width / 2);
      right = std::max(right, item.center + item.width / 2);
    }
    layout.width = items_.empty() ? 0 : right - left;
    for (std::size_t i = 0; i < box_count_; ++i)
      layout.boxes.push_back(
          {items_[i].center - items_[i].width / 2 - left, top[row_of(i)], items_[i].width, items_[i].height});
    for (std::size_t edge = 0; edge < edges_.size(); ++edge) layout.edges.push_back(way(edge, top, bottom, left));
    return layout;
  }

 private:
  std::size_t row_of(std::size_t item) const { return static_cast<std::size_t>(items_[item].row); }

  double row_height(const std::vector<std::size_t>& row) const {
    double height = 0;
    for (std::size_t item : row) height = std::max(height, items_[item].height);
    return height;
  }

  /// No box is narrower than the lines that leave or enter it.
  void widen_for_ends() {
    std::vector<double> above(box_count_, end_margin), below(box_count_, end_margin);
    for (const LayoutEdge& edge : edges_) {
      above[edge.to] += edge.width + least_end_gap;
      below[edge.from] += edge.width + least_end_gap;
    }
    for (std::size_t i = 0; i < box_count_; ++i) items_[i].width = std::max({items_[i].width, above[i], below[i]});
  }

  /// Lines that go far aside need room to stay apart.
  double gap_below(std::size_t row) const {
    double aside = 0;
    for (std::size_t item : rows_[row])
      for (std::size_t next : items_[item].below)
        aside = std::max(aside, std::abs(items_[next].center - items_[item].center));
    return std::clamp(aside / flattest + 30, least_gap, most_gap);
  }

  /// What nothing leads to stands just above the first that reads it.
  void choose_rows() {
    std::vector<bool> read(box_count_), reads(box_count_);
    for (const LayoutEdge& edge : edges_) {
      items_[edge.to].row = std::max(items_[edge.to].row, items_[edge.from].row + 1);
      read[edge.from] = reads[edge.to] = true;
    }
    std::vector<int> first(box_count_, std::numeric_limits<int>::max());
    for (const LayoutEdge& edge : edges_) first[edge.from] = std::min(first[edge.from], items_[edge.to].row);
    int last = 0;
    for (std::size_t i = 0; i < box_count_; ++i) {
      if (!reads[i] && read[i]) items_[i].row = first[i] - 1;
      last = std::max(last, items_[i].row);
    }
    rows_.resize(static_cast<std::size_t>(last) + 1);
  }

  void lead_long_edges() {
    for (const LayoutEdge& edge : edges_) {
      std::vector<std::size_t>& chain = chains_.emplace_back(std::vector{edge.from});
      for (int row = items_[edge.from].row + 1; row < items_[edge.to].row; ++row) {
        chain.push_back(items_.size());
        items_.push_back({row, std::max(edge.width, 8.0), 0, {}, {}, 0, true});
      }
      chain.push_back(edge.to);
      for (std::size_t i = 0; i + 1 < chain.size(); ++i) {
        items_[chain[i]].below.push_back(chain[i + 1]);
        items_[chain[i + 1]].above.push_back(chain[i]);
      }
    }
  }

  // ---- Order: by the middle of the neighbours in the row before; the order with the fewest crossings is kept.

  std::vector<std::size_t> positions() const {
    std::vector<std::size_t> position(items_.size());
    for (const auto& row : rows_)
      for (std::size_t i = 0; i < row.size(); ++i) position[row[i]] = i;
    return position;
  }

  std::size_t crossings() const {
    const auto position = positions();
    std::size_t count = 0;
    for (const auto& row : rows_) {
      std::vector<std::pair<std::size_t, std::size_t>> lines;
      for (std::size_t item : row)
        for (std::size_t next : items_[item].below) lines.emplace_back(position[item], position[next]);
      for (std::size_t i = 0; i < lines.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
          if ((lines[i].first < lines[j].first && lines[i].second > lines[j].second) ||
              (lines[i].first > lines[j].first && lines[i].second < lines[j].second))
            ++count;
    }
    return count;
  }

  void sort_row(std::vector<std::size_t>& row, bool by_above) {
    const auto position = positions();
    std::vector<double> key(items_.size());
    for (std::size_t item : row) {
      const auto& neighbours = by_above ? items_[item].above : items_[item].below;
      double sum = 0;
      for (std::size_t each : neighbours) sum += static_cast<double>(position[each]);
      key[item] =
          neighbours.empty() ? static_cast<double>(position[item]) : sum / static_cast<double>(neighbours.size());
    }
    std::stable_sort(row.begin(), row.end(), [&](std::size_t a, std::size_t b) { return key[a] < key[b]; });
  }

  void order() {
    auto best = rows_;
    std::size_t fewest = crossings();
    for (int sweep = 0; sweep < order_sweeps && fewest > 0; ++sweep) {
      const bool down = sweep % 2 == 0;
      for (std::size_t i = 1; i < rows_.size(); ++i) sort_row(rows_[down ? i : rows_.size() - 1 - i], down);
      if (const std::size_t now = crossings(); now < fewest) fewest = now, best = rows_;
    }
    rows_ = std::move(best);
  }

  // ---- Place: each near the middle of its neighbours, as far as the row leaves room; then of those above. Straight
  // lines pull hardest.

  /// below: of those below too; else of those above alone, where there are any.
  double wanted(const Item& item, bool below) const {
    double sum = 0, weight = 0;
    for (const auto* side : {&item.above, &item.below}) {
      if (side == &item.below && !below && weight > 0) break;
      for (std::size_t each : *side) {
        const double pull = item.passing && items_[each].passing ? 8 : 1;
        sum += pull * items_[each].center;
        weight += pull;
      }
    }
    return weight == 0 ? item.center : sum / weight;
  }

  double apart(std::size_t left, std::size_t right) const {
    return (items_[left].width + items_[right].width) / 2 + column_gap;
  }

  /// Packed from the left and from the right, and the mean of both: it keeps every distance.
  void settle(const std::vector<std::size_t>& row, const std::vector<double>& wish) {
    std::vector<double> from_left = wish, from_right = wish;
    for (std::size_t i = 1; i < row.size(); ++i)
      from_left[i] = std::max(wish[i], from_left[i - 1] + apart(row[i - 1], row[i]));
    for (std::size_t i = row.size() - 1; i-- > 0;)
      from_right[i] = std::min(wish[i], from_right[i + 1] - apart(row[i], row[i + 1]));
    for (std::size_t i = 0; i < row.size(); ++i) items_[row[i]].center = (from_left[i] + from_right[i]) / 2;
  }

  void place_row(const std::vector<std::size_t>& row, bool below) {
    std::vector<double> wish(row.size());
    std::transform(row.begin(), row.end(), wish.begin(), [&](std::size_t item) { return wanted(items_[item], below); });
    settle(row, wish);
  }

  void place() {
    for (const auto& row : rows_) settle(row, std::vector<double>(row.size(), 0));
    for (int sweep = 0; sweep < place_sweeps; ++sweep)
      for (std::size_t i = 0; i < rows_.size(); ++i) place_row(rows_[sweep % 2 == 0 ? i : rows_.size() - 1 - i], true);
    for (int sweep = 0; sweep < 2; ++sweep)  // so that a chain hangs straight
      for (const auto& row : rows_) place_row(row, false);
  }

  // ---- Ways: the ends of a box's edges share its side, in the order in which they leave.

  double end_of(std::size_t edge, bool lower) const {
    const std::size_t box = lower ? edges_[edge].from : edges_[edge].to;
    const auto beyond = [&](std::size_t other) {
      const auto& chain = chains_[other];
      return items_[lower ? chain[1] : chain[chain.size() - 2]].center;
    };
    std::vector<std::size_t> all;
    double width = 0;
    for (std::size_t other = 0; other < edges_.size(); ++other)
      if ((lower ? edges_[other].from : edges_[other].to) == box) {
        all.push_back(other);
        width += edges_[other].width;
      }
    std::stable_sort(all.begin(), all.end(), [&](std::size_t a, std::size_t b) { return beyond(a) < beyond(b); });
    const auto count = static_cast<double>(all.size());
    const double gap =
        std::clamp((items_[box].width - end_margin - width) / std::max(count - 1, 1.0), least_end_gap, 22.0);
    double at = items_[box].center - (width + gap * (count - 1)) / 2;
    for (std::size_t each : all) {
      if (each == edge) return at + edges_[each].width / 2;
      at += edges_[each].width + gap;
    }
    return at;
  }

  std::vector<Point> way(std::size_t edge, const std::vector<double>& top, const std::vector<double>& bottom,
                         double left) const {
    const auto& chain = chains_[edge];
    const std::size_t from = chain.front(), to = chain.back();
    std::vector<Point> points;
    const double start = end_of(edge, true) - left, box_bottom = top[row_of(from)] + items_[from].height;
    points.push_back({start, box_bottom});
    if (bottom[row_of(from)] > box_bottom) points.push_back({start, bottom[row_of(from)]});
    for (std::size_t i = 1; i + 1 < chain.size(); ++i) {
      const double x = items_[chain[i]].center - left;
      points.push_back({x, top[row_of(chain[i])]});
      points.push_back({x, bottom[row_of(chain[i])]});
    }
    points.push_back({end_of(edge, false) - left, top[row_of(to)]});
    return points;
  }

  const std::vector<LayoutEdge>& edges_;
  std::size_t box_count_ = 0;
  std::vector<Item> items_;
  std::vector<std::vector<std::size_t>> chains_, rows_;
};

}  // namespace

Layout layered_layout(const std::vector<LayoutBox>& boxes, const std::vector<LayoutEdge>& edges) {
  return LayeredLayout(boxes, edges).result();
}

}  // namespace weir::cli
