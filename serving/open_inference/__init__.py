"""Messages of the Open Inference Protocol v2 over gRPC, generated from `inference.proto`; knows no server."""
