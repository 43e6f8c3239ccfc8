"""Independent proofs of the registered results: ``python -m proofs_check``.

Every check starts from the definitions (the loss, the chain) and derives the statement anew; the library's theory is
imported only to be held against what was derived. One module or folder per subject, named as everywhere else.
"""
