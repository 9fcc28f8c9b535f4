"""Embedding tables and feature transforms over plain buffers; must not know spec, TensorFlow or files."""
