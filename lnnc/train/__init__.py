"""From sequences to a trained, distilled, pruned and chosen student. torch is imported here."""
