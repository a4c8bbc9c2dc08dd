"""The network of the example `mlp_mnist`, trained by torch on the CPU, to compare the seconds of an epoch.

    torch_mnist.py --data DIR

DIR holds the four MNIST IDX files, plain or gzipped.
"""

import argparse
import gzip
import os
import pathlib
import time

import torch

PIXELS = 28 * 28


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    images, labels = samples(arguments.data, "train")
    test_images, test_labels = samples(arguments.data, "t10k")
    network = torch.nn.Sequential(torch.nn.Linear(PIXELS, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
    # fused is torch's fastest.
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-8, fused=True)
    print(f"device: CPU, {arguments.threads} threads, torch {torch.__version__}", flush=True)
    for epoch in range(1, arguments.epochs + 1):
        order = torch.randperm(len(labels))
        start = time.perf_counter()
        total = torch.zeros(())
        for batch in order.split(arguments.batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss = torch.nn.functional.cross_entropy(network(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(batch)
        seconds = time.perf_counter() - start
        with torch.no_grad():
            accuracy = 100 * (network(test_images).argmax(1) == test_labels).float().mean()
        loss = total / len(labels)
        print(f"epoch {epoch}: train loss {loss:.4f}, test accuracy {accuracy:.2f} %, {seconds:.3f} s", flush=True)


def samples(folder, part):
    """Images as rows of numbers from 0 to 1, and their labels."""
    images = idx(folder, f"{part}-images-idx3-ubyte", 16).reshape(-1, PIXELS).float() / 255
    return images, idx(folder, f"{part}-labels-idx1-ubyte", 8).long()


def idx(folder, name, header):
    """The bytes of an IDX file."""
    for path in [folder / name, folder / f"{name}.gz"]:
        if path.is_file():
            content = path.read_bytes()
            # By content, as the example does.
            content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
            return torch.frombuffer(bytearray(content[header:]), dtype=torch.uint8)
    raise SystemExit(f"error: --data {folder}: there is no {name} or {name}.gz; put the four MNIST IDX files there")


main()
