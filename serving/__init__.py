"""In: a release pointer and the bundle it names. Out: answers, and a log of what was answered."""
