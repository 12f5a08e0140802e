"""Adversarial training: what is asked for, the loop, its checkpoints. Whoever needs torch imports it from within."""
