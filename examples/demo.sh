#!/usr/bin/env bash
# Checks a real space, says what is in it, draws a network within budgets, counts and compiles it,
# and runs it on a clip. Then renders videos, trains a small network of two streams on them for two
# minutes, and evaluates it. `make demo` runs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
BIN=${BIN:-.venv/bin}
OUT=${OUT:-build/demo}
# Videos to render, and --set for the training: CLIPS=64 SET=train.epochs=1 is a quick look.
CLIPS=${CLIPS:-1536}
SET=${SET:-train.epochs=12}
mkdir -p "$OUT"

run() {
  printf '\n$ %s\n' "$*"
  "$BIN/$@"
}

run tsdsl check specs/auto_tsnet_s.tsnet
run tsdsl space specs/auto_tsnet_s.tsnet
run tsdsl sample specs/auto_tsnet_s.tsnet --seed 1 --flops 1.97G..2.07G --params ..8M -o "$OUT/arch.json"
run tsdsl flops specs/auto_tsnet_s.tsnet --frozen "$OUT/arch.json" --by stage
run tsdsl compile specs/auto_tsnet_s.tsnet --frozen "$OUT/arch.json" -o "$OUT/model.py"
run python examples/run_compiled.py "$OUT/model.py" 3 16 160 160

rm -rf "$OUT/run"
run tsdsl data synth "$OUT/glyphs" --clips "$CLIPS" --workers 2
run tsdsl train examples/glyphs.tsnet --data "$OUT/glyphs/train.csv" --val "$OUT/glyphs/val.csv" -o "$OUT/run" --set "$SET"
run tsdsl eval examples/glyphs.tsnet --data "$OUT/glyphs/val.csv" --weights "$OUT/run/best.safetensors"
