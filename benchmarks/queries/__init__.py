"""What `analysis.py` is made of: the questions, the tools of this environment, peers, reports."""
