"""Freshet's reference trainer: a linear part, embeddings and an MLP, in plain PyTorch.

Read it in this order: `__main__` (the process), `job` (one training as a job), `manifest` and `dataset` (what goes in),
`vocabulary`, `encoding` and `model`, `strategies` and `warm_start`, `examples`, `learner` and `optimiser`, `tuning` and
`train` (what happens), `checkpoint`, `serving` and `export` (what comes out). `distributed` is for several GPUs.
"""
