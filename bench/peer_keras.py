"""The seed in Keras 3 on TensorFlow: one tf.function a step, batches ready as tensors."""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import peer

options = peer.arguments()
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(options.threads)
tf.config.threading.set_inter_op_parallelism_threads(int(options.variant or options.threads))
import keras
from keras import layers


def network():
    x = image = keras.Input((28, 28, 1), name="image")
    for i, filters in enumerate(peer.FILTERS, 1):
        x = layers.Conv2D(filters, 3, activation="relu", padding="same", name=f"conv_{i}")(x)
        x = layers.MaxPooling2D(2, name=f"pool_{i}")(x)
    hidden = layers.Flatten(name="hidden_3")(x)
    x = layers.Dense(peer.HIDDEN, activation="relu", name="dense_1")(hidden)
    return keras.Model(image, [hidden, layers.Dense(peer.CLASSES, activation="softmax", name="output")(x)])


def main():
    start = time.perf_counter()
    model, optimizer = network(), keras.optimizers.Adam(0.001)
    weights = peer.initial_weights(options.run)
    for variable in model.trainable_variables:
        variable.assign(weights[variable.path.replace("/", ".")])
    optimizer.build(model.trainable_variables)
    absolute, crossentropy = keras.losses.MeanAbsoluteError(), keras.losses.CategoricalCrossentropy()

    @tf.function
    def train(image, label):
        with tf.GradientTape() as tape:
            hidden, output = model(image, training=True)
            total = peer.WEIGHT * absolute(tf.zeros_like(hidden), hidden) + crossentropy(
                tf.one_hot(label, peer.CLASSES), output
            )
        optimizer.apply_gradients(zip(tape.gradient(total, model.trainable_variables), model.trainable_variables))
        return total

    data = [(tf.constant(image), tf.constant(label)) for image, label in peer.batches(options.run)]
    train.get_concrete_function(*data[0])
    ready = {
        "versions": {"Keras": keras.__version__, "TensorFlow": tf.__version__},
        "start_seconds": time.perf_counter() - start,
    }
    peer.serve(lambda batch: float(train(*batch)), data, ready)


main()
