"""Findings drawn into real films: one subject a file, numpy only.

``Scene`` (``geometry.py``) says where things are in a film, ``tissue.py`` how density is added, each finding has a file
of its own, ``asked.py`` says which findings there are and in which words, and ``draw.py`` draws them.
"""
