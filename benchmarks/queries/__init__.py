"""The parts of `analysis.py`: quantities, the tools in this environment, peers, reports."""
