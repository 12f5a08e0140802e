"""Datasets of labelled videos: what they list (torch-free), and the clips that a model is shown of them."""
