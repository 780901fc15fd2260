"""What a bundle says about its model, as plain data that both ends read alike.

A model family is described here, never named: `geometry` says which pixels a view is given as and
which token grid it has, `preprocess` how pixels are made ready, `tokens` what a token is made of,
`prompt` how images and text become the language model's input, `language` where that model is.
"""
