"""Constants of the losses that are written by hand: the same in every contestant."""

ALPHA = 0.25  # focal: weight of the positives; the exponent is 2
SMOOTH = 1e-5  # dice: added to both sides of the fraction
TEMPERATURE = 0.07  # InfoNCE
