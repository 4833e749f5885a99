"""How well a random forest tells made users from real ones: AUC of its out-of-fold votes, .5 not at all, 1 always.

usage: realism.py GENERATOR        the folder of `thaw augment`: latents.made.npy, latents.real.npy
"""
import os
import sys

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

made, real = (np.load(os.path.join(sys.argv[1], f"latents.{name}.npy")) for name in ("made", "real"))
rows, label = np.concatenate([made, real]), np.repeat([1, 0], [len(made), len(real)])
# A user's made and real latent are in the same fold: nothing is learnt about the one from the other.
user = np.concatenate([np.arange(len(made)), np.arange(len(real))])
forest = RandomForestClassifier(300, min_samples_leaf=3, random_state=0)
votes = cross_val_predict(forest, rows, label, groups=user, cv=GroupKFold(5), method="predict_proba")[:, 1]
print(f"{roc_auc_score(label, votes):.3f}")
