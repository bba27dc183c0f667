"""A grammar over what is true of a rendered moment: captions, questions with answers, and their reader.

    facts.py      what is true of one object in a stretch of time
    words.py      nouns, verbs and their synonyms; some are kept for held-out evaluation
    captions.py   noun phrases, one-sentence captions, captions over time
    questions.py  questions, answers, choices, questions about two objects
    reading.py    the other way: a sentence's category, colours, actions and turn

Everything is drawn from a NumPy generator that the caller seeds.
"""
