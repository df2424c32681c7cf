"""Predictions by ONNX Runtime, of the PyTorch model exported. A process of its own exports, so that the memory of
PyTorch is not counted here.
"""

import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np

import peer


def export(options, path):
    import logging

    import torch

    from torch_model import Model, as_input

    logging.disable(logging.WARNING)
    net, weights = peer.specification(options), peer.Weights(options.run)
    arrays = dict(zip(net.fed(), peer.batches(options.run, net)[0]))
    batch = {name: as_input(array, net.inputs[name]["shape"], False) for name, array in arrays.items()}
    model = Model(net, weights).eval()

    class InOrder(torch.nn.Module):
        """ONNX knows inputs by their place."""

        def forward(self, *values):
            return model(dict(zip(batch, values)))

    in_order = InOrder()
    in_order.model = model
    with torch.inference_mode():
        torch.onnx.export(in_order, tuple(batch.values()), path, input_names=list(batch), dynamo=True, verbose=False)
    Path(path).with_suffix(".count").write_text(str(weights.count(net)))


def as_onnx_input(array):
    if array.dtype == np.int32:
        return array.astype(np.int64)
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2)) if array.ndim == 4 else array


def open_session(options, path):
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = options.threads, 1
    return onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"]), onnxruntime.__version__


def main():
    options = peer.arguments()
    net = peer.specification(options)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.onnx")
        exporter = multiprocessing.get_context("spawn").Process(target=export, args=(options, path))
        exporter.start()
        exporter.join()
        start = time.perf_counter()
        session, version = open_session(options, path)
        count = int(Path(path).with_suffix(".count").read_text())
    seconds = time.perf_counter() - start
    batches = peer.batches(options.run, net)
    data = [{name: as_onnx_input(array) for name, array in zip(net.fed(), batch)} for batch in batches]

    def predict(batch):
        value = session.run(None, batch)[0]
        return value.transpose(0, 2, 3, 1) if value.ndim == 4 else value

    ready = {"versions": {"ONNX Runtime": version}, "parameters": count, "start_seconds": seconds}
    peer.serve_predictions(predict, data, ready)


if __name__ == "__main__":
    main()
