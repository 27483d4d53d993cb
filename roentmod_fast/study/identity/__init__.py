"""How near an edit stays to its patient: distances of embeddings and retrieval, with intervals by patient.

The paper's pairwise FID of one image a side has no covariance: it is the squared distance of two embeddings. Three
scores are compared: an edit and its own source (``model``), an edit of another patient (``control``), and a real
radiograph of the same patient (``real``).
"""
