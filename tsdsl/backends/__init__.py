"""From the IR to torch: Python source (`emit`), modules (`network_module`, `supernet`), and
measurements of both (`timing`, `bench`, `memory`)."""
