"""The mathematics of ELMo and nothing else: character ids → layers.

Read beside the paper (Peters et al. 2018): `char_cnn` and `highway` make a word's vector (in some published models
`word_embedding` or `word_and_characters` does), `lstm` is one layer of one direction, `bilm` joins the two directions,
`scalar_mix` is equation (1), `softmax` the language model's head.
"""
