"""Where do networks look, what do they outline, and does squeezing the image matter? (07_dice)"""
