"""Trains the demo model from nothing and writes gateway/models/sealpath-demo.gguf. Usage: python3 train.py [minutes]

Needs PyTorch, NumPy and a fast BLAS (Debian: python3-torch python3-numpy libopenblas0-pthread), one core and no GPU. All randomness has
a seed, one thread adds up in one order, and the number of steps is fixed (the minutes are only a bound): the same PyTorch and BLAS on
the same kind of processor give the same file. MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=10000000000 in the environment saves a third
of the time, because glibc then keeps the memory of each step.
"""

import math
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # Read when the library loads, so set before the imports.

import gguf
import numpy
import torch
from questions import UNKNOWN_ANSWER, Questions, read_corpus, read_unknown
from torch import nn
from torch.nn import functional
from vocabulary import ASSISTANT, BOS, EOS, UNKNOWN, USER, learn_vocabulary

OUTPUT = Path(__file__).parents[2] / "gateway/models/sealpath-demo.gguf"
SEED = 20261121
VOCABULARY_SIZE = 1280
WIDTH, LAYERS, HEADS, KV_HEADS, HIDDEN, CONTEXT = 128, 4, 4, 2, 384, 1024
HEAD_WIDTH = WIDTH // HEADS
EPSILON = 1e-5
STEPS, BATCH_TOKENS, LEARNING_RATE = 2600, 3072, 4e-3
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ '<|assistant|>' + message['content'] + '</s>' }}"
    "{% elif message['role'] == 'user' %}{{ '<|user|> ' + message['content'] + '</s>' }}"
    "{% else %}{{ '<|system|> ' + message['content'] + '</s>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON) * self.weight


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn_norm, self.ffn_norm = Norm(), Norm()
        self.attn_q = nn.Linear(WIDTH, WIDTH, bias=False)
        self.attn_k = nn.Linear(WIDTH, HEAD_WIDTH * KV_HEADS, bias=False)
        self.attn_v = nn.Linear(WIDTH, HEAD_WIDTH * KV_HEADS, bias=False)
        self.attn_output = nn.Linear(WIDTH, WIDTH, bias=False)
        self.ffn_gate = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.ffn_up = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.ffn_down = nn.Linear(HIDDEN, WIDTH, bias=False)

    def forward(self, x, cosine, sine, mask):
        batch, length, _ = x.shape
        h = self.attn_norm(x)
        q = self.attn_q(h).view(batch, length, HEADS, HEAD_WIDTH).transpose(1, 2)
        k = self.attn_k(h).view(batch, length, KV_HEADS, HEAD_WIDTH).transpose(1, 2)
        v = self.attn_v(h).view(batch, length, KV_HEADS, HEAD_WIDTH).transpose(1, 2)
        q, k = rotate(q, cosine, sine), rotate(k, cosine, sine)
        k, v = (t.repeat_interleave(HEADS // KV_HEADS, 1) for t in (k, v))
        weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(HEAD_WIDTH) + mask, -1)
        x = x + self.attn_output((weights @ v).transpose(1, 2).reshape(batch, length, WIDTH))
        h = self.ffn_norm(x)
        return x + self.ffn_down(functional.silu(self.ffn_gate(h)) * self.ffn_up(h))


def rotate(x, cosine, sine):
    """RoPE over neighbouring pairs, as llama.cpp's "llama" architecture has it."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), -1).flatten(-2)


class Model(nn.Module):
    def __init__(self, vocabulary_size):
        super().__init__()
        self.token_embd = nn.Embedding(vocabulary_size, WIDTH)
        self.blk = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.output_norm = Norm()
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                scale = 0.02 if "embd" in name else 1 / math.sqrt(parameter.shape[1])
                nn.init.normal_(parameter, std=scale / (math.sqrt(2 * LAYERS) if "output" in name or "down" in name else 1))
        angles = torch.outer(torch.arange(CONTEXT).float(), 10000 ** (-torch.arange(0, HEAD_WIDTH, 2).float() / HEAD_WIDTH))
        self.cosine, self.sine = angles.cos(), angles.sin()

    def forward(self, ids, wanted=None):
        """Logits at every position, or only where the boolean mask `wanted` is set."""
        length = ids.shape[1]
        mask = torch.full((length, length), -1e9).triu(1)
        x = self.token_embd(ids)
        for layer in self.blk:
            x = layer(x, self.cosine[:length], self.sine[:length], mask)
        x = x if wanted is None else x[wanted]
        return functional.linear(self.output_norm(x), self.token_embd.weight)


def draw_batches(questions, count):
    """`count` batches of about BATCH_TOKENS tokens, each of conversations of like length, so that little is padding."""
    drawn = []
    while sum(len(ids) for ids, _ in drawn) < count * BATCH_TOKENS:
        drawn.append(questions.draw())
    drawn.sort(key=lambda conversation: len(conversation[0]))
    batches, batch = [], []
    for conversation in drawn:
        if batch and (len(batch) + 1) * len(conversation[0]) > BATCH_TOKENS:
            batches.append(batch)
            batch = []
        batch.append(conversation)
    batches.append(batch)
    questions.random.shuffle(batches)
    return [pad(batch) for batch in batches]


def pad(batch):
    length = max(len(ids) for ids, _ in batch)
    ids = torch.tensor([ids + [EOS] * (length - len(ids)) for ids, _ in batch])
    learn = torch.tensor([learn + [False] * (length - len(learn)) for _, learn in batch])
    return ids, learn


def train(model, questions, minutes):
    matrices = [p for p in model.parameters() if p.dim() == 2]
    norms = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": norms, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.95), foreach=True)
    started, step, recent = time.monotonic(), 0, []
    while step < STEPS:
        for ids, learn in draw_batches(questions, 32):
            fraction = step / STEPS
            if time.monotonic() - started > minutes * 60:
                raise SystemExit(f"stopped at step {step} of {STEPS}: allow more minutes, or change STEPS")
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * min(1, (step + 1) / 60) * (0.02 + 0.98 * (1 + math.cos(math.pi * fraction)) / 2)
            wanted = learn[:, 1:]
            loss = functional.cross_entropy(model(ids[:, :-1], wanted), ids[:, 1:][wanted])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            recent.append(loss.item())
            step += 1
            if step % 100 == 0:
                print(f"step {step} loss {sum(recent) / len(recent):.4f} after {time.monotonic() - started:.0f} s", flush=True)
                recent = []
            if step == STEPS:
                break


@torch.no_grad()
def count_right(model, vocabulary, pairs):
    """How many of `pairs` (question, answer) the model answers word for word when it always takes the likeliest token."""
    right = []
    for question, answer in pairs:
        asked = [BOS, *vocabulary.encode_turn(USER, question), ASSISTANT]
        said = vocabulary.encode_turn(ASSISTANT, answer)[1:]
        likeliest = model(torch.tensor([asked + said[:-1]]))[0, len(asked) - 1 :].argmax(-1)
        if likeliest.tolist() == said:
            right.append(question)
        else:
            print("  differs:", question)
    return len(right)


def write_model(model, vocabulary):
    u32, string = gguf.UINT32, gguf.STRING
    fields = [
        gguf.field("general.architecture", string, "llama"),
        gguf.field("general.name", string, "sealpath-demo-1m"),
        gguf.field("general.license", string, "cc0-1.0"),
        gguf.field("general.description", string, "Memorised questions and answers about Sealpath; knows nothing else."),
        gguf.field("general.alignment", u32, gguf.ALIGNMENT),
        gguf.field("general.file_type", u32, 1),
        gguf.field("llama.block_count", u32, LAYERS),
        gguf.field("llama.context_length", u32, CONTEXT),
        gguf.field("llama.embedding_length", u32, WIDTH),
        gguf.field("llama.feed_forward_length", u32, HIDDEN),
        gguf.field("llama.attention.head_count", u32, HEADS),
        gguf.field("llama.attention.head_count_kv", u32, KV_HEADS),
        gguf.field("llama.attention.layer_norm_rms_epsilon", gguf.FLOAT32, EPSILON),
        gguf.field("llama.rope.dimension_count", u32, HEAD_WIDTH),
        gguf.field("llama.rope.freq_base", gguf.FLOAT32, 10000.0),
        gguf.field("llama.vocab_size", u32, len(vocabulary)),
        gguf.field("tokenizer.ggml.model", string, "llama"),
        gguf.array_field("tokenizer.ggml.tokens", string, vocabulary.tokens),
        gguf.array_field("tokenizer.ggml.scores", gguf.FLOAT32, vocabulary.scores),
        gguf.array_field("tokenizer.ggml.token_type", gguf.INT32, vocabulary.types),
        gguf.field("tokenizer.ggml.bos_token_id", u32, BOS),
        gguf.field("tokenizer.ggml.eos_token_id", u32, EOS),
        gguf.field("tokenizer.ggml.unknown_token_id", u32, UNKNOWN),
        gguf.field("tokenizer.ggml.add_bos_token", gguf.BOOL, True),
        gguf.field("tokenizer.ggml.add_eos_token", gguf.BOOL, False),
        gguf.field("tokenizer.ggml.add_space_prefix", gguf.BOOL, False),
        gguf.field("tokenizer.chat_template", string, CHAT_TEMPLATE),
    ]
    # The output matrix is the embedding, as for any llama file without an output.weight.
    tensors = []
    for name, parameter in model.named_parameters():
        name = name if name.endswith(".weight") else name + ".weight"
        tensors.append((name, parameter.detach().numpy().astype(numpy.float16 if parameter.dim() == 2 else numpy.float32)))
    gguf.write_gguf(OUTPUT, fields, tensors)


def main():
    random.seed(SEED)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    texts = Counter()
    for questions, answer in read_corpus():
        texts[answer] += 4
        for question in questions:
            texts[" " + question] += 3
            texts[" " + question.lower()] += 2
    fixed, templates, words = read_unknown()
    for text in (*fixed, *templates, *words):
        texts[" " + text] += 1
    texts[UNKNOWN_ANSWER] += 4
    vocabulary = learn_vocabulary(texts, VOCABULARY_SIZE)
    model = Model(len(vocabulary))
    print("pieces", len(vocabulary), "parameters", sum(p.numel() for p in model.parameters()), flush=True)
    train(model, Questions(vocabulary, random.Random(SEED)), float(sys.argv[1]) if len(sys.argv) > 1 else 15)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.copy_(parameter.half().float())
    known = [(question, answer) for questions, answer in read_corpus() for question in questions]
    print("corpus questions answered word for word:", count_right(model, vocabulary, known), "of", len(known))
    unknown = [(question, UNKNOWN_ANSWER) for question in fixed]
    print("unknown questions declined:", count_right(model, vocabulary, unknown), "of", len(unknown))
    write_model(model, vocabulary)
    print(OUTPUT.name, OUTPUT.stat().st_size, "bytes")


main()
