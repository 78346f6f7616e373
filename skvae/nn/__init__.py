"""The mathematics in torch: networks, likelihoods, priors, objectives, and the models that compose them.

Nothing here reads data, loops over epochs, picks a device or sets a seed.
"""
