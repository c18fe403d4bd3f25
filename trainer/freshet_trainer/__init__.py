"""Freshet's reference trainer: embeddings and an MLP, in plain PyTorch.

Read it in this order: `__main__` (the process), `manifest` and `dataset` (what goes in), `model`, `optimiser`,
`warm_start` and `train` (what happens), `export` (what comes out).
"""
