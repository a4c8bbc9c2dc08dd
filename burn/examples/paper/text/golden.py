"""What PyTorch's own encoder layers make of a tiny BERT, for the test in weights.rs: prints the pooled numbers.

python golden.py  (torch 2.15.0)
"""

import torch
from torch import nn

VOCABULARY, POSITIONS, WIDTH, INNER, HEADS, LAYERS = 10, 6, 128, 8, 2, 2


def weight(name, *shape):
    """The number at place i follows from the name and i."""
    count = torch.Size(shape).numel()
    values = 0.03 * torch.sin(torch.arange(count, dtype=torch.float64) ** 1.5 + sum(name.encode()))
    if name.endswith("LayerNorm.weight"):
        values += 1
    return values.float().double().reshape(shape)


def norm(name):
    layer = nn.LayerNorm(WIDTH, eps=1e-12, dtype=torch.float64)
    layer.weight.data, layer.bias.data = weight(f"{name}.weight", WIDTH), weight(f"{name}.bias", WIDTH)
    return layer


def layer(number):
    name = f"encoder.layer.{number}"
    made = nn.TransformerEncoderLayer(WIDTH, HEADS, INNER, 0.0, "gelu", 1e-12, batch_first=True, dtype=torch.float64)
    parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
    attention = made.self_attn
    attention.in_proj_weight.data = torch.cat([weight(f"{part}.weight", WIDTH, WIDTH) for part in parts])
    attention.in_proj_bias.data = torch.cat([weight(f"{part}.bias", WIDTH) for part in parts])
    for linear, part, shape in (
        (attention.out_proj, "attention.output.dense", (WIDTH, WIDTH)),
        (made.linear1, "intermediate.dense", (INNER, WIDTH)),
        (made.linear2, "output.dense", (WIDTH, INNER)),
    ):
        linear.weight.data = weight(f"{name}.{part}.weight", *shape)
        linear.bias.data = weight(f"{name}.{part}.bias", shape[0])
    made.norm1, made.norm2 = norm(f"{name}.attention.output.LayerNorm"), norm(f"{name}.output.LayerNorm")
    return made


tokens = torch.tensor([[2, 7, 4, 9, 3], [2, 5, 3, 0, 0]])
x = weight("embeddings.word_embeddings.weight", VOCABULARY, WIDTH)[tokens]
x = x + weight("embeddings.position_embeddings.weight", POSITIONS, WIDTH)[:5]
x = x + weight("embeddings.token_type_embeddings.weight", 2, WIDTH)[0]
x = norm("embeddings.LayerNorm")(x)
for number in range(LAYERS):
    x = layer(number)(x, src_key_padding_mask=tokens == 0)
pooled = torch.tanh(x[:, 0] @ weight("pooler.dense.weight", WIDTH, WIDTH).T + weight("pooler.dense.bias", WIDTH))
for row in pooled:
    print(", ".join(f"{value:.6}" for value in row[:4].tolist()))
