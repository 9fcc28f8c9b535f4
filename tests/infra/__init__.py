"""Tests of the doors to the outside and of the pipeline's file; know no other room."""
