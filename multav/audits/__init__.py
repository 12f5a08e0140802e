"""Robustness audits: models x attacks x epsilons on a dataset, clip by clip.

`request` says what a user asks for (torch-free), `outcome` what is known of one clip, `evaluation` attacks a batch of
clips, `examination` doubts the result, and `verdict` says what follows from both.
"""
