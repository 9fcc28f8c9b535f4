// SPDX-License-Identifier: Apache-2.0
#include "tile_layers.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "half.hpp"
#include "tile_product.hpp"

namespace springtide {
namespace {

struct Scratch {
  Array<std::uint16_t> cut;
  Array<float> rows;
  Array<float> added;
};

// One per thread, as large as the widest layers that it has run.
thread_local Scratch scratch;

}  // namespace

TileLayers::TileLayers(const std::vector<DenseLayer>& layers, const float* shared_weights, std::size_t shared, bool sigmoid,
                       std::size_t parts)
    : parts_(parts), shared_(shared), sigmoid_(sigmoid) {
  if (!tiles::available()) throw std::runtime_error("this processor has no matrix unit, or the kernel does not lend it");
  if (parts < 2 || parts > tiles::kMostParts)
    throw std::invalid_argument("wanted numbers in 2 or 3 parts; got " + std::to_string(parts));
  if (layers.empty()) throw std::invalid_argument("wanted at least one layer");
  for (std::size_t l = 0; l < layers.size(); ++l) {
    if (layers[l].inputs == 0 || layers[l].outputs == 0) throw std::invalid_argument("wanted layers of at least one number");
    if (l > 0 && layers[l].inputs != layers[l - 1].outputs)
      throw std::invalid_argument("layer " + std::to_string(l) + " takes " + std::to_string(layers[l].inputs) +
                                  " numbers; the one before it gives " + std::to_string(layers[l - 1].outputs));
    layers_.push_back(packed(layers[l], l + 1 == layers.size()));
    widest_ = std::max({widest_, layers_[l].depth, layers_[l].columns});
  }
  const Packed& first = layers_.front();
  shared_weights_.resize(shared * first.columns);
  std::fill(shared_weights_.begin(), shared_weights_.end(), 0.0F);
  for (std::size_t s = 0; s < shared; ++s)
    std::copy_n(shared_weights + s * first.outputs, first.outputs, shared_weights_.data() + s * first.columns);
}

TileLayers::Packed TileLayers::packed(const DenseLayer& layer, bool last) const {
  Packed made{layer.inputs,
              layer.outputs,
              rounded_up(layer.inputs, tiles::kDepth),
              rounded_up(layer.outputs, tiles::kColumns),
              layer.positive,
              last && layer.outputs <= kNarrow,
              {},
              {},
              {}};
  made.bias.resize(made.columns);
  std::fill(made.bias.begin(), made.bias.end(), 0.0F);
  if (layer.bias != nullptr) std::copy_n(layer.bias, layer.outputs, made.bias.data());
  if (made.narrow) {
    made.transposed.resize(layer.outputs * made.depth);
    std::fill(made.transposed.begin(), made.transposed.end(), 0.0F);
    for (std::size_t k = 0; k < layer.inputs; ++k)
      for (std::size_t c = 0; c < layer.outputs; ++c)
        made.transposed[c * made.depth + k] = layer.weights[k * layer.outputs + c];
    return made;
  }
  made.tiles.resize(parts_ * made.depth * made.columns);
  std::fill(made.tiles.begin(), made.tiles.end(), std::uint16_t{0});
  Array<float> left(layer.outputs);
  Array<float> kept(layer.outputs);
  Array<std::uint16_t> halves(layer.outputs);
  for (std::size_t k = 0; k < layer.inputs; ++k) {
    std::copy_n(layer.weights + k * layer.outputs, layer.outputs, left.data());
    for (std::size_t part = 0; part < parts_; ++part) {
      narrow_to_nearest(left.data(), layer.outputs, Precision::kBfloat16, halves.data());
      widen(halves.data(), layer.outputs, Precision::kBfloat16, kept.data());
      for (std::size_t c = 0; c < layer.outputs; ++c) {
        made.tiles[tiles::packed_at(made.depth, parts_, k, c) + part * tiles::kTile] = halves[c];
        left[c] -= kept[c];
      }
    }
  }
  return made;
}

void TileLayers::run(const float* rows, std::size_t count, const float* shared, float* out) const {
  const Packed& first = layers_.front();
  const std::size_t block = tiles::kRows * widest_;
  ensure(scratch.cut, parts_ * block);
  ensure(scratch.rows, block);
  ensure(scratch.added, first.columns);
  const float* added = first.bias.data();
  if (shared_ > 0) {
    tiles::add_shared(shared, shared_, shared_weights_.data(), added, first.columns, scratch.added.data());
    added = scratch.added.data();
  }
  for (std::size_t r = 0; r < count; r += tiles::kRows)
    run_block(rows + r * first.inputs, std::min(tiles::kRows, count - r), added, out + r * outputs());
  tiles::release();
}

void TileLayers::run_block(const float* rows, std::size_t count, const float* added, float* out) const {
  const float* from = rows;
  std::size_t stride = inputs();
  for (const Packed& layer : layers_) {
    const float* bias = &layer == &layers_.front() ? added : layer.bias.data();
    if (layer.narrow) {
      for (std::size_t c = 0; c < layer.outputs; ++c)
        tiles::narrow(from, count, layer.inputs, stride, layer.transposed.data() + c * layer.depth, bias[c], out + c,
                      layer.outputs);
      if (layer.positive) std::transform(out, out + count * layer.outputs, out, [](float x) { return x < 0 ? 0.0F : x; });
      break;  // it is the last
    }
    float* to = scratch.rows.data();
    tiles::split(from, count, layer.inputs, stride, layer.depth, parts_, scratch.cut.data());
    tiles::product(scratch.cut.data(), count, layer.depth, parts_, layer.tiles.data(), layer.columns, to);
    tiles::add(to, count, layer.columns, bias, layer.positive);
    from = to;
    stride = layer.columns;
    if (&layer == &layers_.back())
      for (std::size_t r = 0; r < count; ++r) std::copy_n(to + r * stride, layer.outputs, out + r * layer.outputs);
  }
  finish(out, count);
}

void TileLayers::finish(float* out, std::size_t count) const noexcept {
  if (!sigmoid_) return;
  for (std::size_t i = 0; i < count * outputs(); ++i) out[i] = 1.0F / (1.0F + std::exp(-out[i]));
}

}  // namespace springtide
