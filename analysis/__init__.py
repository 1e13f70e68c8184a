"""LRP, masking and statistics: arrays and tensors in, arrays out."""
