// A loss and its gradients by every means but differences: the reference, the reference with rounding, the plan.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "compiler/gradient_agreement.hpp"
#include "compiler/made_up_batch.hpp"
#include "runtime/session.hpp"

namespace weir {

struct ComputedLoss {
  double weight = 1;                 ///< in the whole
  std::vector<double> term_weights;  ///< by term of the subject's graph, as they were in the step; 0: not trained
  std::map<std::string, LossGradient, std::less<>> gradients;  ///< by parameter, of those that the graph has
  std::vector<std::string> compiled;                           ///< parameters of which the plan has one
};

ComputedLoss compute_loss(const VerifySubjects& subjects, const VerifySubject& subject, const MadeUpBatch& batch);

/// At the batch, after compute.
Interpreter compute_reference(const VerifySubjects& subjects, const TrainingGraph& training, const MadeUpBatch& batch);
/// With the batch's parameters, no step done: it draws the same random numbers as the reference.
Session open_session(const VerifySubjects& subjects, const VerifySubject& subject, const MadeUpBatch& batch);
/// A training step, or a gradient step without the update. Throws Error(invalid_spec) where it is not finite: the batch
/// is ours, so it is no divergence of the user's.
void do_step(Session& session, const MadeUpBatch& batch, bool update);

}  // namespace weir
