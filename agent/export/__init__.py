"""`lapwing export`: a policy as an ONNX graph, and less exact ones that must drive as well."""
