"""Bootstrap: the only place that chooses adapters (`building`), and what can be asked of the house they make.

The other modules hold the questions and deeds that the control API, the console and the command line share:
`inventory`, `authority`, `estate`, `evidence`, `review`, `discovery`. What needs no house, as a look at an estate's
files, does not load one.
"""
