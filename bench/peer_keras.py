"""A specification in Keras 3 on TensorFlow. Variants: eager (a tape, the loop that the question began with), function
(the same step as one tf.function) and jit (that function compiled by XLA).

Words of the specification are Keras', so a layer is the class of that name with the keys as arguments.
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"
import network
import peer

options = peer.arguments()
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(options.threads)
tf.config.threading.set_inter_op_parallelism_threads(options.threads)
import keras

ACTIVATIONS = ("relu6", "gelu", "tanh", "sigmoid", "exponential")
NOT_KERAS = ("gradient_scale", "normal_sample")
SPECIAL_LOSSES = {"value": lambda node: tf.reduce_mean(node)}


def class_name(word):
    """conv2d → Conv2D, relu → ReLU, mean_squared_error → MeanSquaredError"""
    if word == "relu":
        return "ReLU"
    return "".join(part.capitalize().replace("2d", "2D").replace("1d", "1D") for part in word.split("_"))


def make_layer(layer):
    if layer.type in NOT_KERAS:
        raise SystemExit(f"Keras has no {layer.type}")
    common = {"name": layer.name, "trainable": layer.trainable}
    if layer.type in ACTIVATIONS:
        return keras.layers.Activation(layer.type, **common)
    settings = {key: value for key, value in layer.settings.items() if key != "use_causal_mask"}
    for key, value in settings.items():
        if isinstance(value, dict):  # an initializer, a regularizer or a constraint
            kind = key.rpartition("_")[2] + "s"
            config = {name: number for name, number in value.items() if name != "type"}
            settings[key] = getattr(keras, kind).get({"class_name": class_name(value["type"]), "config": config})
    return getattr(keras.layers, class_name(layer.type))(**settings, **common)


def apply(layer, nodes):
    reads = {role: nodes[node] for role, node in layer.reads.items()}
    padding = layer.settings.get("padding")
    if isinstance(padding, list):
        layer.settings["padding"] = "valid"
        reads[0] = keras.layers.ZeroPadding2D(padding, name=f"{layer.name}_padding")(reads[0])
    keyword = {} if layer.training else {"training": False}
    made = make_layer(layer)
    if layer.type == "multi_head_attention":
        return made(**reads, use_causal_mask=layer.settings.get("use_causal_mask", False), **keyword)
    values = list(reads.values())
    several = layer.type in ("add", "multiply", "concatenate")
    return made(values if several else values[0], **keyword)


def build(net):
    nodes = {}
    for name, given in net.inputs.items():
        dtype = "int32" if given.get("dtype") == "i32" else "float32"
        nodes[name] = keras.Input(given["shape"], name=name, dtype=dtype)
    for layer in net.needed():
        nodes[layer.name] = apply(layer, nodes)
    read = {node for layer in net.needed() for node in layer.reads.values()}
    return keras.Model(
        {name: nodes[name] for name in net.fed() if name in read}, {name: nodes[name] for name in net.wanted()}
    )


def parameter_name(path):
    """dense/kernel → dense.kernel, attend/attention_output/bias → attend.output_bias"""
    layer, *rest = path.split("/")
    return f"{layer}." + "_".join(rest).replace("attention_output", "output")


def measure(term):
    """The term's value as a function of the nodes and the batch."""
    if term.type in SPECIAL_LOSSES:
        return lambda nodes, batch: SPECIAL_LOSSES[term.type](nodes[term.at])
    loss = getattr(keras.losses, class_name(term.type))(**term.settings)

    def target(nodes, batch):
        if "constant" in term.target:
            return tf.fill(tf.shape(nodes[term.at]), float(term.target["constant"]))
        if "node" in term.target:
            return tf.stop_gradient(nodes[term.target["node"]])
        value = batch[term.target["input"]]
        return tf.one_hot(value, term.target["one_hot"]) if "one_hot" in term.target else value

    return lambda nodes, batch: loss(target(nodes, batch), nodes[term.at])


def make_optimizer(net):
    settings = {key: value for key, value in net.optimizer.items() if key != "type"}
    name = net.optimizer["type"]
    return getattr(keras.optimizers, "SGD" if name == "sgd" else class_name(name))(**settings)


def training_step(net, model):
    optimizer = make_optimizer(net)
    optimizer.build(model.trainable_variables)
    measures = [(float(term.weight), measure(term)) for term in net.terms]
    feeds = [name for name in model.input]

    def train(batch):
        with tf.GradientTape() as tape:
            nodes = model({name: batch[name] for name in feeds}, training=True)
            total = tf.add_n([weight * value(nodes, batch) for weight, value in measures] + model.losses)
        gradients = tape.gradient(total, model.trainable_variables)
        # Rows of an embedding come one a use; weir and PyTorch add them up before the update.
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        return total

    return train


def prediction(net, model):
    return lambda batch: model(batch, training=False)[net.wanted()[0]]


def main():
    start = time.perf_counter()
    net = peer.specification(options)
    model, weights = build(net), peer.Weights(options.run)
    for variable in model.variables:
        variable.assign(weights.take(parameter_name(variable.path), variable.shape))
    step = prediction(net, model) if options.predict else training_step(net, model)
    if options.variant != "eager":
        step = tf.function(step, jit_compile=options.variant == "jit")
    data = [
        {name: tf.constant(array) for name, array in zip(net.fed(), batch)} for batch in peer.batches(options.run, net)
    ]
    ready = {
        "versions": {"Keras": keras.__version__, "TensorFlow": tf.__version__},
        "parameters": weights.count(net),
        "start_seconds": time.perf_counter() - start,
    }
    if options.predict:
        peer.serve_predictions(lambda batch: step(batch).numpy(), data, ready)
    else:
        peer.serve(lambda batch: float(step(batch)), data, ready)


main()
