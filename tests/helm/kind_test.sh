#!/usr/bin/env bash
# The chart's first example in a cluster of its own, with images built here: for people who have containers.
# Wants docker, kind, kubectl and helm; takes away what it made. Last run: never (no container engine was at hand).
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/../.."
echo "kind-test: last run: never. Whoever runs it first, please write down here how it went."
for tool in docker kind kubectl helm; do
  command -v "$tool" >/dev/null || { echo "FAIL  $tool not found in PATH; cure: install it"; exit 1; }
done
cluster=springtide-test repository=springtide.local/springtide tag=test
trap 'kind delete cluster --name "$cluster"' EXIT
kind create cluster --name "$cluster" --wait 120s
for role in join flink learner serving page; do
  docker build --quiet --file "infra/docker/$role.Dockerfile" --tag "$repository-$role:$tag" .
  kind load docker-image --name "$cluster" "$repository-$role:$tag"
done
kubectl create namespace springtide
kubectl label namespace springtide pod-security.kubernetes.io/enforce=restricted
helm install springtide helm/springtide --namespace springtide --values helm/springtide/examples/quickstart.yaml \
  --set "image.repository=$repository,image.tag=$tag"
kubectl wait --namespace springtide --for=condition=Available --timeout=15m deployment --all
helm test springtide --namespace springtide --logs --timeout 10m
helm uninstall springtide --namespace springtide
echo "kind-test: passed"
