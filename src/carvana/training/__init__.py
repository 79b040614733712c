"""Training: the loop and its state, losses, optimizers, augmentation."""
