"""How many training patients until the source stops mattering? (10_label_efficiency)"""
