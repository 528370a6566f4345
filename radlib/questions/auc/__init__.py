"""Does the source make a difference in AUC? (04_auc)"""
