"""A byte-pair tokenizer of the DNABERT-S kind, learned from the training excerpts.

As the published one it takes a sequence as one word, has the special tokens [UNK] [CLS] [SEP]
[PAD] [MASK] and puts [CLS] and [SEP] around. Excerpts are cut in short pieces for learning: the
time to learn grows with the length of a word.
"""

from collections.abc import Iterator, Sequence

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer

from virnucpro_assets.demo.excerpts import Excerpt

SPECIAL_TOKENS = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
PIECE_BASES = 300


def learn_tokenizer(excerpts: Sequence[Excerpt], vocabulary: int) -> str:
    """The tokenizer.json with `vocabulary` tokens, the special ones included."""
    tokenizer = Tokenizer(BPE(unk_token=SPECIAL_TOKENS[0]))
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=list("ACGT"),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_pieces(excerpts), trainer)
    start, end = SPECIAL_TOKENS.index("[CLS]"), SPECIAL_TOKENS.index("[SEP]")
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", start), ("[SEP]", end)],
    )
    return str(tokenizer.to_str())


def _pieces(excerpts: Sequence[Excerpt]) -> Iterator[str]:
    """Pieces of equal length; letters that are no base part them."""
    for excerpt in excerpts:
        for run in "".join(letter if letter in "ACGT" else " " for letter in excerpt.letters).split():
            yield from (run[start : start + PIECE_BASES] for start in range(0, len(run), PIECE_BASES))
