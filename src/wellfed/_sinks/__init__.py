"""Sends elsewhere what is seen of loaders: to a file, TensorBoard, Prometheus or W&B.

One sink a file, named on the command line and in `observe(export=...)` by `naming`. Between the
thread that trains and a sink stands an `Outlet`.
"""
