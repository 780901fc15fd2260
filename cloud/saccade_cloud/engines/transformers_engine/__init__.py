"""The reference engine: a Hugging Face checkpoint's language model, run by transformers.

Nothing outside this package imports torch or transformers. No family is named here: what a model
can do is found out from its class and by trying (``probe.py``).
"""
