"""Which operations a stored dense program may hold; knows names only, no TensorFlow.

A graph comes from the object store, so whoever can write there could otherwise make a replica read files or run
code: TensorFlow has operations for both. Replicas refuse a graph with any other operation, learners do not store one.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Final

# Arithmetic on tensors only: no files, no Python, no variables, no loops, no randomness.
_ARITHMETIC: Final = """
    Abs Add AddN AddV2 All Any ArgMax ArgMin BatchMatMul BatchMatMulV2 BatchMatMulV3 BiasAdd BiasAddV1
    BroadcastTo Cast Ceil ClipByValue Concat ConcatV2 Const Cos Cumsum DivNoNan Einsum Elu Equal Erf Erfc Exp
    ExpandDims Expm1 Fill Floor FloorDiv FloorMod FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual
    Identity IdentityN Inv Invert InvertPermutation IsFinite IsInf IsNan L2Loss LeakyRelu Less LessEqual Log
    Log1p LogicalAnd LogicalNot LogicalOr LogSoftmax MatMul Max Maximum Mean Min Minimum Mod Mul MulNoNan Neg
    NoOp NotEqual OneHot OnesLike Pack Pad PadV2 Placeholder Pow PreventGradient Prod Range Rank RealDiv
    Reciprocal Relu Relu6 Reshape ReverseV2 Round Rsqrt Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin Size
    Slice Snapshot Softmax Softplus Softsign Split SplitV Sqrt Square SquaredDifference Squeeze StopGradient
    StridedSlice Sub Sum Tan Tanh Tile TopKV2 Transpose Unpack UnsortedSegmentSum Where Xdivy Xlogy ZerosLike
"""
# Calls of functions that stand in the graph itself; their bodies are judged too.
CALLS: Final = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
ALLOWED: Final = CALLS.union(_ARITHMETIC.split())
