"""One module per claim: ``python -m experiments.<claim> --preset demo --seed 0 --out results/<claim>``."""
