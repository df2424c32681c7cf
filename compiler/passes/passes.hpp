// Table of contents: every pass, in the order in which compile.cpp runs them. Each takes a value and returns a value;
// what holds before and after, and why it stands where it stands, is in the header of its file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/diagnostic.hpp"
#include "compiler/ir/graph.hpp"
#include "compiler/passes/lowered_graph.hpp"
#include "compiler/spec/spec.hpp"
#include "runtime/plan.hpp"
#include "runtime/target.hpp"

namespace weir {

enum class Mode { training, evaluation };

/// Spec → Graph: one node a layer (and one for its activation), types inferred, parameters declared. Shape errors go
/// into diagnostics; layers behind a wrong one are left out silently.
Graph build_graph(const Spec& spec, Mode mode, Diagnostics& diagnostics);

/// Loss nodes of the trained terms; excluded and watched terms are listed without nodes. only_term: that one alone,
/// weight 1.
TrainingGraph attach_losses(const Spec& spec, Graph graph, Diagnostics& diagnostics, const std::string& only_term = "");

/// Optional ("replace_layers"): a layer gives way to an op that computes the same with less work, where its record
/// knows one.
TrainingGraph replace_layers(TrainingGraph training);

/// Backward nodes: each reached parameter gets its gradient.
TrainingGraph differentiate(TrainingGraph training);

/// Optimizer steps of the reached parameters and moves of the statistics in the trained part.
TrainingGraph add_updates(const Spec& spec, TrainingGraph training);

/// Switches off every node that nothing asked for needs.
TrainingGraph prune(TrainingGraph training);

/// Optional ("mask_selected"): the gradient of a relu before a max pooling is taken of what was pooled.
TrainingGraph mask_selected(TrainingGraph training);

/// Optional ("fold_normalization"), for evaluation and prediction: a normalization by moving statistics goes into the
/// weights of the layer before it.
TrainingGraph fold_normalization(TrainingGraph training);

/// Optional ("fuse_post_ops"): an activation runs inside the step of the layer before it.
TrainingGraph fuse_post_ops(TrainingGraph training);

/// Optional ("fuse_normalization"): a normalization by the batch's statistics adds what is added to it and runs the
/// activation behind it, and its gradient the mask of that activation.
TrainingGraph fuse_normalization(TrainingGraph training);

/// Readers: watched terms, metrics and taps. Adds nodes, changes none; what fusion no longer materialises is computed
/// again for them.
TrainingGraph attach_watchers(const Spec& spec, TrainingGraph training, const std::vector<std::string>& taps,
                              Diagnostics& diagnostics);

/// Evaluation and prediction: loss nodes of trained and watched terms, metrics, taps on an evaluation graph; everything
/// else off.
TrainingGraph attach_evaluation(const Spec& spec, Graph graph, const std::vector<std::string>& taps, bool losses,
                                Diagnostics& diagnostics);

/// Optional ("assign_layouts"): which of the target's two layouts the images of each node have, where that costs
/// clearly less than the usual ones.
LayoutAssignment assign_layouts(const TrainingGraph& training, const Target& target, std::int64_t batch);

/// Nodes → kernel steps at one batch size, layouts settled, reorders and weight copies added. homes: parameter layouts
/// that an earlier program fixed; those fixed here are added.
/// layouts: of the nodes it names; the others follow the target's usual layout and their operands.
LoweredGraph lower(const TrainingGraph& training, const Target& target, std::int64_t batch, HomeShapes& homes,
                   const LayoutAssignment& layouts = {});

/// Optional ("group_updates"): updates of several parameters run in one step, and so do their copies in other layouts.
LoweredGraph group_updates(LoweredGraph lowered);

/// Offsets in one arena: best of several greedy orders. Knows sizes and lives, nothing else.
struct MemoryRequest {
  std::uint64_t bytes = 0;
  int first = 0, last = 0;  ///< steps between which it is live, inclusive
  int in_place_of = -1;     ///< request whose bytes it may take over where that one dies at `first`
};
struct MemoryPlan {
  std::vector<std::uint64_t> offsets;
  std::uint64_t bytes = 0;
  std::uint64_t lower_bound = 0;
};
MemoryPlan plan_memory(const std::vector<MemoryRequest>& requests);
/// What is live at each step, from 0: the largest is the lower bound.
std::vector<std::uint64_t> live_bytes(const std::vector<MemoryRequest>& requests);

/// Adds a program to the plan: lives from the order of steps, offsets, recipes shared with earlier programs. The plan's
/// parameters and scalars grow as programs need them; finish_store lays out what is kept between steps once all
/// programs are there.
void emit_program(Plan& plan, ProgramKind kind, const TrainingGraph& training, const LoweredGraph& lowered);
void finish_store(Plan& plan, const HomeShapes& homes);
/// Every parameter and statistic of the model, reached or not, in file order.
void declare_parameters(Plan& plan, const TrainingGraph& training);

}  // namespace weir
