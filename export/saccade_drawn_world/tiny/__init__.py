"""The demo bundle's small model: encoder, language model, tokenizer."""
