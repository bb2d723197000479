"""The vocabulary: byte-pair pieces learnt from the corpus, cut up again exactly as llama.cpp's SPM tokenizer does.

Twin of gateway/backends/embedded/tokenizer.ts. A space is written U+2581 and begins a piece; it never stands inside one. Punctuation
is never joined to letters, so that a question with and without its question mark has the same pieces before it.
"""

import re
from collections import Counter

SPACE = "\u2581"
UNKNOWN, BOS, EOS, SYSTEM, USER, ASSISTANT = range(6)
CONTROL = ["<unk>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"]
BYTE_0 = len(CONTROL)
NORMAL_0 = BYTE_0 + 256

# Values of tokenizer.ggml.token_type.
TYPE_NORMAL, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_BYTE = 1, 2, 3, 6


def learn_vocabulary(texts, size):
    """Pieces of `texts` (text -> weight), at most `size` in all: control, bytes, printable ASCII, then merges by frequency."""
    words = Counter()
    for text, weight in texts.items():
        for word in re.findall(f"{SPACE}?[A-Za-z]+|{SPACE}?[0-9]|{SPACE}?[^A-Za-z0-9{SPACE}]|{SPACE}", text.replace(" ", SPACE)):
            words[word] += weight
    characters = [SPACE] + [chr(code) for code in range(33, 127)]
    pieces = list(characters)
    known = set(pieces)
    splits = {word: list(word) for word in words if all(c in known for c in word)}
    while NORMAL_0 + len(pieces) < size:
        pairs = Counter()
        for word, parts in splits.items():
            for left, right in zip(parts, parts[1:]):
                pairs[left + right] += words[word]
        if not pairs:
            break
        # Ties go to the alphabetically first piece, so that the same corpus always gives the same vocabulary.
        best = min(pairs, key=lambda piece: (-pairs[piece], piece))
        if pairs[best] < 3:
            break
        pieces.append(best)
        for word, parts in splits.items():
            index = 0
            while index + 1 < len(parts):
                if parts[index] + parts[index + 1] == best:
                    parts[index : index + 2] = [best]
                index += 1
    return Vocabulary(pieces, len(characters))


class Vocabulary:
    def __init__(self, pieces, character_count):
        self.tokens = CONTROL + [f"<0x{byte:02X}>" for byte in range(256)] + pieces
        self.scores = [0.0] * NORMAL_0 + [-1000.0] * character_count
        self.scores += [-float(rank) for rank in range(len(pieces) - character_count)]
        self.types = [TYPE_UNKNOWN] + [TYPE_CONTROL] * (len(CONTROL) - 1) + [TYPE_BYTE] * 256 + [TYPE_NORMAL] * len(pieces)
        self.ids = {piece: NORMAL_0 + index for index, piece in enumerate(pieces)}
        self.cache = {}

    def __len__(self):
        return len(self.tokens)

    def encode(self, text):
        """Token ids of plain `text`; pieces never cross a space, so that words can be cut and cached one by one."""
        ids = []
        for word in re.findall(f"{SPACE}?[^{SPACE}]+|{SPACE}", text.replace(" ", SPACE)):
            if word not in self.cache:
                self.cache[word] = self.encode_word(word)
            ids += self.cache[word]
        return ids

    def encode_word(self, word):
        parts = list(word)
        while True:
            # The joinable pair of the best score, the leftmost of equals: what llama.cpp's queue of bigrams comes to.
            best, best_score = -1, None
            for index in range(len(parts) - 1):
                token = self.ids.get(parts[index] + parts[index + 1])
                if token is not None and (best_score is None or self.scores[token] > best_score):
                    best, best_score = index, self.scores[token]
            if best < 0:
                break
            parts[best : best + 2] = [parts[best] + parts[best + 1]]
        ids = []
        for part in parts:
            token = self.ids.get(part)
            ids += [token] if token is not None else [BYTE_0 + byte for byte in part.encode()]
        return ids

    def encode_turn(self, role, content):
        """One closed message of the chat template."""
        if role == ASSISTANT:
            return [ASSISTANT, *self.encode(content), EOS]
        return [role, *self.encode(" " + content), EOS]
