// weir train --gradient-norms: how large each term's gradient is, by layer, and how far terms agree. Each kept term has
// a plan and a session of its own, which gets the parameters, the step count and the batch: the training session is
// only read, so no bit of the run depends on it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "compiler/cli/text.hpp"
#include "runtime/session.hpp"

namespace weir::cli {

class GradientNorms {
 public:
  struct TermPlan {
    std::string term;
    std::shared_ptr<const Plan> plan;  ///< compiled with only_term
  };
  explicit GradientNorms(std::vector<TermPlan> plans, std::uint64_t seed);

  /// Before an update: the gradients at the session's parameters. A term whose gradient is not finite is null.
  void measure(const Session& session, const Feed& feed);
  /// Adds "gradient_norms": {term: {layer: norm}}, times the term's weight, and "gradient_cosines": {"a,b": cosine} of
  /// the last measurement to a step's line. A cosine with a gradient that is all zero is null.
  void add_to(Json& line, std::span<const TermValue> terms);
  /// Means over what was added since the last call, as a table; "" where there was nothing.
  std::string epoch_text();

 private:
  struct Term {
    std::string name;
    Session session;
    std::map<std::string, Tensor> gradients = {};  ///< by parameter
    bool finite = false;
    double sum = 0;  ///< of norms over all layers, in this epoch
  };
  struct Pair {
    double sum = 0;
    std::size_t count = 0;
  };
  static void measure(Term& term, const Session& session, const Feed& feed);

  std::vector<Term> terms_;
  std::map<std::string, Pair> cosines_;
  std::size_t added_ = 0;
};

}  // namespace weir::cli
