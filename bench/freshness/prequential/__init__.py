"""Prequential evaluation of ways to keep a model fresh: each block of a log is scored before it is trained on.

Read it in this order: `__main__` and `runs` (who does what), `log_rows` (blocks and replay), `chains` (the strategies), `floor`
(the simple model to beat), `measures`, `intervals` and `summary` (what comes out).
"""
