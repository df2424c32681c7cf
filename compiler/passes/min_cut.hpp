// The cheapest choice of 0 or 1 for each of several variables that pay for their value and for disagreeing with
// another. Such a sum is as large as a cut of a graph with an edge for each price, so the cheapest choice is its
// smallest cut and exact (D. Greig, B. Porteous, A. Seheult, "Exact maximum a posteriori estimation for binary images",
// 1989; which sums can be written so: V. Kolmogorov, R. Zabih, "What energy functions can be minimized via graph
// cuts?", 2004). The smallest cut is found as the largest flow, along shortest paths (E. Dinic, 1970).
#pragma once

#include <cstdint>
#include <vector>

namespace weir {

class MinCut {
 public:
  using Price = std::int64_t;
  static constexpr Price forbidden = Price{1} << 50;  ///< larger than all other prices together

  MinCut() : edges_(2) {}

  int add_variable();
  void pay(int variable, Price where_0, Price where_1);
  /// Where `zero` is 0 and `one` is 1.
  void pay_between(int zero, int one, Price price);

  /// One value for each variable; of several cheapest choices the one with the fewest ones.
  std::vector<bool> solve();

 private:
  struct Edge {
    int to;
    std::size_t back;  ///< position of the reverse edge among those of `to`
    Price room;
  };
  static constexpr int source = 0, sink = 1;

  void connect(int from, int to, Price room);
  bool measure_distances();
  Price push(int from, Price most);
  std::vector<bool> reaching_the_sink() const;

  std::vector<std::vector<Edge>> edges_;
  std::vector<int> distance_;
  std::vector<std::size_t> next_;
};

}  // namespace weir
