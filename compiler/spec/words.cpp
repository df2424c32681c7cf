// Words that the reader knows without being able to use them: Keras' identifiers that have no record yet, and what
// people write who come from elsewhere. They only choose between "not supported yet", "did you mean" and "unknown".
#include <utility>

#include "compiler/spec/keys.hpp"

namespace weir {

const std::vector<std::string_view>& LaterWords::activations() {
  static const std::vector<std::string_view> words{
      "celu",         "elu",         "exponential", "gelu",       "glu",         "hard_shrink",
      "hard_sigmoid", "hard_silu",   "hard_tanh",   "leaky_relu", "log_sigmoid", "log_softmax",
      "mish",         "relu6",       "selu",        "silu",       "soft_shrink", "softplus",
      "softsign",     "sparse_plus", "sparsemax",   "squareplus", "tanh_shrink", "threshold",
      "prelu",        "relu",        "sigmoid",     "softmax",    "tanh"};
  return words;
}

const std::vector<std::string_view>& LaterWords::layers() {
  static const std::vector<std::string_view> words{"activation",
                                                   "activity_regularization",
                                                   "add",
                                                   "additive_attention",
                                                   "alpha_dropout",
                                                   "attention",
                                                   "average",
                                                   "average_pooling1d",
                                                   "average_pooling2d",
                                                   "average_pooling3d",
                                                   "batch_normalization",
                                                   "bidirectional",
                                                   "block",
                                                   "center_crop",
                                                   "concatenate",
                                                   "conv1d",
                                                   "conv1d_transpose",
                                                   "conv2d",
                                                   "conv2d_transpose",
                                                   "conv3d",
                                                   "conv3d_transpose",
                                                   "conv_lstm1d",
                                                   "conv_lstm2d",
                                                   "conv_lstm3d",
                                                   "cropping1d",
                                                   "cropping2d",
                                                   "cropping3d",
                                                   "dense",
                                                   "depthwise_conv1d",
                                                   "depthwise_conv2d",
                                                   "dot",
                                                   "dropout",
                                                   "einsum_dense",
                                                   "embedding",
                                                   "flatten",
                                                   "gaussian_dropout",
                                                   "gaussian_noise",
                                                   "gelu",
                                                   "global_average_pooling1d",
                                                   "global_average_pooling2d",
                                                   "global_average_pooling3d",
                                                   "global_max_pooling1d",
                                                   "global_max_pooling2d",
                                                   "global_max_pooling3d",
                                                   "group_normalization",
                                                   "group_query_attention",
                                                   "gru",
                                                   "gru_cell",
                                                   "layer_normalization",
                                                   "lstm",
                                                   "lstm_cell",
                                                   "masking",
                                                   "max_pooling1d",
                                                   "max_pooling2d",
                                                   "max_pooling3d",
                                                   "maximum",
                                                   "minimum",
                                                   "multi_head_attention",
                                                   "multiply",
                                                   "normal_sample",
                                                   "normalization",
                                                   "permute",
                                                   "repeat_vector",
                                                   "rescaling",
                                                   "reshape",
                                                   "resizing",
                                                   "rms_normalization",
                                                   "rnn",
                                                   "separable_conv1d",
                                                   "separable_conv2d",
                                                   "simple_rnn",
                                                   "slice",
                                                   "spatial_dropout1d",
                                                   "spatial_dropout2d",
                                                   "spatial_dropout3d",
                                                   "spectral_normalization",
                                                   "split",
                                                   "subtract",
                                                   "time_distributed",
                                                   "unit_normalization",
                                                   "up_sampling1d",
                                                   "up_sampling2d",
                                                   "up_sampling3d",
                                                   "zero_padding1d",
                                                   "zero_padding2d",
                                                   "zero_padding3d"};
  return words;
}

const std::vector<std::string_view>& LaterWords::losses() {
  static const std::vector<std::string_view> words{"mean_squared_error",
                                                   "mean_absolute_error",
                                                   "huber",
                                                   "log_cosh",
                                                   "binary_crossentropy",
                                                   "categorical_crossentropy",
                                                   "sparse_categorical_crossentropy",
                                                   "kl_divergence",
                                                   "poisson",
                                                   "cosine_similarity",
                                                   "hinge",
                                                   "squared_hinge",
                                                   "categorical_hinge",
                                                   "mean_absolute_percentage_error",
                                                   "mean_squared_logarithmic_error",
                                                   "binary_focal_crossentropy",
                                                   "categorical_focal_crossentropy",
                                                   "dice",
                                                   "tversky",
                                                   "value",
                                                   "kl_sparsity"};
  return words;
}

const std::vector<std::string_view>& LaterWords::metrics() {
  static const std::vector<std::string_view> words{"auc",
                                                   "binary_accuracy",
                                                   "binary_io_u",
                                                   "categorical_accuracy",
                                                   "f1_score",
                                                   "false_negatives",
                                                   "false_positives",
                                                   "fbeta_score",
                                                   "io_u",
                                                   "mean",
                                                   "mean_io_u",
                                                   "one_hot_io_u",
                                                   "one_hot_mean_io_u",
                                                   "precision",
                                                   "precision_at_recall",
                                                   "r2_score",
                                                   "recall",
                                                   "recall_at_precision",
                                                   "root_mean_squared_error",
                                                   "sensitivity_at_specificity",
                                                   "sparse_categorical_accuracy",
                                                   "sparse_top_k_categorical_accuracy",
                                                   "specificity_at_sensitivity",
                                                   "sum",
                                                   "top_k_categorical_accuracy",
                                                   "true_negatives",
                                                   "true_positives"};
  return words;
}

const std::vector<std::string_view>& LaterWords::optimizers() {
  static const std::vector<std::string_view> words{"adadelta", "adafactor", "adagrad", "adam", "adamax",
                                                   "adamw",    "ftrl",      "lamb",    "lion", "muon",
                                                   "nadam",    "rmsprop",   "sgd"};
  return words;
}

std::string_view usual_word(std::string_view word) {
  static const std::vector<std::pair<std::string_view, std::string_view>> words{
      {"mae", "mean_absolute_error"},
      {"l1_loss", "mean_absolute_error"},
      {"mse", "mean_squared_error"},
      {"mse_loss", "mean_squared_error"},
      {"bce", "binary_crossentropy"},
      {"binary_cross_entropy", "binary_crossentropy"},
      {"cross_entropy", "categorical_crossentropy"},
      {"crossentropy", "categorical_crossentropy"},
      {"categorical_cross_entropy", "categorical_crossentropy"},
      {"nll_loss", "sparse_categorical_crossentropy"},
      {"accuracy", "categorical_accuracy"},
      {"acc", "categorical_accuracy"},
      {"fc", "dense"},
      {"fully_connected", "dense"},
      {"linear", "dense"},
      {"inner_product", "dense"},
      {"conv", "conv2d"},
      {"conv_2d", "conv2d"},
      {"convolution", "conv2d"},
      {"convolution2d", "conv2d"},
      {"maxpool", "max_pooling2d"},
      {"maxpool2d", "max_pooling2d"},
      {"max_pool2d", "max_pooling2d"},
      {"avgpool", "average_pooling2d"},
      {"avgpool2d", "average_pooling2d"},
      {"avg_pool2d", "average_pooling2d"},
      {"batchnorm", "batch_normalization"},
      {"batch_norm", "batch_normalization"},
      {"concat", "concatenate"},
      {"view", "reshape"},
      {"ReLU", "relu"},
      {"logistic", "sigmoid"}};
  for (const auto& [written, meant] : words)
    if (written == word) return meant;
  return {};
}

}  // namespace weir
