#!/usr/bin/env bash
# The environment of `python -m benchmarks.run rivals`, and of networks and forests among rivals of tables and outliers:
# `benchmarks/rivals_env.sh FOLDER`. One of its own, because ctgan needs pandas < 3. All else has the versions of
# constraints.txt, and what only these packages need is pinned here. PYTHON names the interpreter, by default python3.
set -euo pipefail

if [[ $# != 1 ]]; then
  printf 'usage: %s FOLDER\n' "$0" >&2
  exit 2
fi
folder=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."

constraints=$(mktemp)
trap 'rm -f "$constraints"' EXIT
grep -v '^pandas==' constraints.txt >"$constraints"

"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install -c "$constraints" -e . \
  torch==2.13.0 pandas==2.3.3 \
  pyod==3.6.7 \
  pythae==0.1.2 imageio==2.38.1 pydantic==2.14.4 \
  ctgan==0.12.1 rdt==2.0.0 faker==40.63.0 \
  arfpy==0.1.1 \
  mostlyai-engine==2.7.3 accelerate==1.15.0 datasets==5.2.0 huggingface_hub==2.4.0 json_repair==0.64.6 \
  opacus==1.6.0 peft==0.21.2 psutil==5.9.8 tokenizers==0.23.3 transformers==5.24.0 xgrammar==0.2.9 \
  torchvision==0.28.0 torchaudio==2.11.1
"$folder/bin/python" -m pip check

# mostlyai-engine requires these two for language models alone. The registry's are made for CUDA: beside a torch without
# it the import of transformers fails, which without them does without.
if ! "$folder/bin/python" -c 'import torchvision' 2>/dev/null; then
  "$folder/bin/python" -m pip uninstall --yes torchvision torchaudio
fi
