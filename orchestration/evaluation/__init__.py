"""Scores of the whole program on rendered clips that nothing was trained on: `tubelet eval rendered`.

rendered.py    which parts run, on what, with which models
clips.py       held-out clips, and what is true of them in the form that scores need
tracking.py    masks and tracks against truth; following.py: given the first mask
describing.py  sentences against truth
searching.py   from a video file to the rank of the right answer; contests.py: what is asked
figures.py     numbers with their intervals and counts; report.py: tables of them
"""
