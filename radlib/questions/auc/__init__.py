"""Does the source make a difference in AUC? (05_auc)"""
