"""What compiled models cost, for people to read: flash, RAM and stack."""
