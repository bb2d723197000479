"""Reads the corpus and makes training conversations of it: one to three turns, questions changed as strangers would type them."""

import re
from pathlib import Path

from vocabulary import ASSISTANT, BOS, SYSTEM, USER

HERE = Path(__file__).parent
UNKNOWN_ANSWER = (
    "I am a tiny demo model and only know a little about Sealpath, so I cannot answer that. "
    "Ask me, for example: What is Sealpath?"
)
OPENINGS = [
    "please ", "Please, ", "hi, ", "Hello, ", "Hello! ", "hey, ", "so ", "OK, ", "Can you tell me: ", "Please tell me, ", "Tell me, ",
    "I want to know: ", "Question: ", "Could you explain: ", "Briefly, ", "In short, ", "In one sentence, ", "And ", "But ",
    "I have a question. ", "Thanks. ", "I would like to know ", "Well, ", "Quick question: ", "In a few words, ", "Good morning, ",
]
CLOSINGS = [" please", ", please?", " please.", " thanks", " Thank you!", " exactly?", " in short", " in simple words?", " again?", " really?"]
SYSTEM_PROMPTS = [
    "You are a helpful assistant.", "You are a helpful assistant. Answer briefly.", "Answer in one sentence.", "Be concise.",
    "You are a friendly expert. Answer the user's question in plain English.", "Answer truthfully.", "Speak English.",
    "You are an assistant inside an app. Be polite, be short, and never make things up.",
]
SMALL_WORDS = {"the", "a", "an", "is", "are", "of", "do", "does", "what", "to", "it", "my", "in"}
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def read_corpus():
    """A list of (questions, answer)."""
    topics = []
    for block in re.sub(r"(?m)^#.*\n", "", (HERE / "corpus.txt").read_text()).strip().split("\n\n"):
        lines = block.strip().split("\n")
        questions = [line for line in lines if not line.startswith(">")]
        answer = " ".join(line[1:].strip() for line in lines if line.startswith(">"))
        assert questions and answer, block
        topics.append((questions, answer))
    return topics


def read_unknown():
    """Questions without an answer, templates with {}, and the words for them."""
    lines = [line for line in (HERE / "unknown.txt").read_text().strip().split("\n") if not line.startswith("#")]
    words = lines.pop().removeprefix("WORDS ").split()
    return [line for line in lines if "{}" not in line], [line for line in lines if "{}" in line], words


class Questions:
    """Draws conversations from `random`, a seeded random.Random."""

    def __init__(self, vocabulary, random):
        self.vocabulary = vocabulary
        self.random = random
        self.topics = read_corpus()
        self.fixed, self.templates, self.words = read_unknown()

    def draw(self):
        """Token ids of a conversation, and for each whether the model must learn to write it."""
        random = self.random
        ids, learn = [BOS], [False]
        if random.random() < 0.12:
            ids += self.vocabulary.encode_turn(SYSTEM, random.choice(SYSTEM_PROMPTS))
        turns = random.choices([1, 2, 3], [78, 15, 7])[0]
        learn = [False] * len(ids)
        for _ in range(turns):
            question, answer = self.draw_pair()
            asked = self.vocabulary.encode_turn(USER, question) + [ASSISTANT]
            said = self.vocabulary.encode_turn(ASSISTANT, answer)[1:]
            ids += asked + said
            learn += [False] * len(asked) + [True] * len(said)
        return ids, learn

    def draw_pair(self):
        random = self.random
        if random.random() < 0.2:
            return self.change(self.draw_unknown(), False), UNKNOWN_ANSWER
        # The first topics (what Sealpath is) are asked most, so they are learnt most.
        index = random.randrange(4) if random.random() < 0.08 else random.randrange(len(self.topics))
        questions, answer = self.topics[index]
        question = random.choice(questions)
        return (question if random.random() < 0.25 else self.change(question, index < 4)), answer

    def draw_unknown(self):
        random = self.random
        kind = random.random()
        if kind < 0.35:
            return random.choice(self.fixed)
        if kind < 0.4:
            return "".join(chr(random.choice([random.randrange(0xC0, 0x250), random.randrange(0x400, 0x450), random.randrange(0x4E00, 0x4F00)])) for _ in range(random.randrange(1, 6)))
        template = random.choice(self.templates)
        while "{}" in template:
            template = template.replace("{}", self.draw_word(), 1)
        return template

    def draw_word(self):
        random = self.random
        if random.random() < 0.7:
            return random.choice(self.words)
        return "".join(random.choice("bcdfghjklmnprstvwz") + random.choice("aeiou") for _ in range(random.randrange(1, 4)))

    def change(self, question, keeps_length):
        """`question` as somebody else would type it. `keeps_length`: the words around it matter, so none are added."""
        random = self.random
        text = question
        if random.random() < 0.4:
            text = text.rstrip("?.!")
        if random.random() < 0.06:
            text = text.rstrip("?.!") + random.choice(["??", "!", " ?", "...", ".", "?!"])
        if random.random() < 0.1:
            text = re.sub(r"(?i)\b(what|who|how|where) is\b", lambda found: found.group(1) + random.choice(["'s", "s"]), text)
        if random.random() < 0.12:
            words = text.split(" ")
            kept = [word for word in words if word.lower() not in SMALL_WORDS or random.random() < 0.6]
            text = " ".join(kept or words)
        if not keeps_length and random.random() < 0.22:
            text = random.choice(OPENINGS) + (text[0].lower() + text[1:] if random.random() < 0.6 else text)
        if not keeps_length and random.random() < 0.1:
            text = text.rstrip("?.!") + random.choice(CLOSINGS)
        if random.random() < 0.16:
            text = self.mistype(text)
        case = random.random()
        if case < 0.35:
            text = text.lower()
        elif case < 0.38:
            text = text.upper()
        elif case < 0.41:
            text = text.title()
        if random.random() < 0.03:
            text = random.choice([" ", "\n", "\""]) + text
        if random.random() < 0.05:
            text = text + random.choice([" ", "\n", "\"", "\n\n"])
        return text

    def mistype(self, text):
        random = self.random
        characters = list(text)
        for _ in range(random.choice([1, 1, 2])):
            index = random.randrange(len(characters))
            if not characters[index].isalpha():
                continue
            kind = random.random()
            if kind < 0.3:
                characters[index] = ""
            elif kind < 0.6 and index + 1 < len(characters):
                characters[index], characters[index + 1] = characters[index + 1], characters[index]
            elif kind < 0.8:
                characters[index] *= 2
            else:
                characters[index] = random.choice(LETTERS)
            characters = list("".join(characters)) or list(text)
        return "".join(characters)
