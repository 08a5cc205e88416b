"""Published shapes of the encoders, for models with random weights."""

from virnucpro_assets.models.configs import DnabertSConfig, EncoderConfig, Esm2Config

ESM2_8M = Esm2Config(num_hidden_layers=6, hidden_size=320, num_attention_heads=20)
ESM2_35M = Esm2Config(num_hidden_layers=12, hidden_size=480, num_attention_heads=20)
DNABERT_S = DnabertSConfig(
    num_hidden_layers=12, hidden_size=768, num_attention_heads=12, intermediate_size=3072, vocab_size=4096
)

ENCODERS: dict[str, EncoderConfig] = {
    "esm2_8m": ESM2_8M,
    "esm2_35m": ESM2_35M,
    "dnabert_s": DNABERT_S,
}
