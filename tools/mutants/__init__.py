"""Mutation testing: `python -m tools.mutants`, or `make mutants`.

A small fault is put into a copy of the tree, and the tests that reach it are run until the first fails. A fault that
no test notices says what the tests do not. Neither of the maintained tools fitted: cosmic-ray changes the checkout
itself and runs one command for every fault, mutmut rewrites whole modules (which tests of the tree's shape see), and
neither draws a sample by a seed, so a bounded run could not be repeated.
"""
