"""How fast the trainer trains, beside the same model in a PyTorch loop as one learns it from a textbook.

`__main__` measures, `textbook` is what it is compared with, `log` makes the rows, `memory` says what the hardware allows.
"""
