"""Training of any network: one loop, distillation, pruning, quantization-aware training."""
