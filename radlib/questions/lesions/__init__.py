"""Where do networks look, what do they draw, and does squeezing the image matter? (07_dice)"""
