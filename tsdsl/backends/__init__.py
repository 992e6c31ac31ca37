"""From IR to torch: source (`emit`) and modules (`build`). The only package that imports torch."""
