"""Freshet's reference trainer: embeddings and an MLP, in plain PyTorch.

Read it in this order: `__main__` (the process), `job` (one training as a job), `manifest` and `dataset` (what goes in),
`vocabulary`, `encoding` and `model`, `strategies`, `learner` and `optimiser`, `tuning` and `train` (what happens),
`serving` and `export` (what comes out).
"""
