#!/usr/bin/env bash
# What a GPU has to show, in one go of at most ten minutes after compiling: the same bits twice and whatever tiles are chosen, the
# speed of products and steps, steps beside PyTorch on the same GPU where python has torch with CUDA, every test, every kernel. Everything lands in the folder named by the
# first argument [default: gpu-results], summary.txt first; ends with an error when a test fails or bits differ.
#
#   benches/gpu.sh [FOLDER]
#   CONTRALEAK=path/to/contraleak PYTHON=peers/bin/python benches/gpu.sh     # a binary built elsewhere; without cargo, no tests
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-gpu-results}
mkdir -p "$out"
export CONTRALEAK python
python=${PYTHON:-python3}
started=$SECONDS
failed=0

say() { printf '%4d s  %s\n' "$((SECONDS - started))" "$*" | tee -a "$out/summary.txt"; }
# keep NAME SECONDS COMMAND…: runs it for so long at most, and no longer than ten minutes are left, its output in NAME.txt; says
# how it ended.
deadline=
keep() {
    local name=$1 limit=$2 code=0
    shift 2
    if [ -n "$deadline" ] && [ "$limit" -gt $((deadline - SECONDS)) ]; then limit=$((deadline - SECONDS)); fi
    if [ "$limit" -le 0 ]; then
        say "$name: LEFT OUT, ten minutes are over"
        return 124
    fi
    timeout "$limit" bash -c '"$@"' _ "$@" >"$out/$name.txt" 2>&1 || code=$?
    case $code in
        0) say "$name: done" ;;
        124) say "$name: NOT DONE after $limit s" ;;
        *) say "$name: FAILED with $code, see $out/$name.txt" ;;
    esac
    return $code
}

: >"$out/summary.txt"
if [ -z "${CONTRALEAK:-}" ]; then
    keep build 1800 cargo build --release || exit 1
    keep tests-build 3600 cargo test --release --no-run || exit 1
    CONTRALEAK=target/release/contraleak
fi
deadline=$((SECONDS + 600))
keep device 60 "$CONTRALEAK" device || exit 1
say "$(head -1 "$out/device.txt")"
if grep -q 'kernel class *software' "$out/device.txt"; then
    say "this adapter is a CPU: WGPU_ADAPTER_NAME chooses another one"
fi

# Mixed precision where the adapter in use has it.
precisions=f32
if awk '/^  used/ { used = /used *yes/ } used && /^  mixed precision *yes/ { found = 1 } END { exit !found }' "$out/device.txt"; then
    precisions="f32 mixed"
else
    say "mixed precision: left out, this adapter has no use for it (see $out/device.txt)"
fi

# One seed twice, and in f32 once more with the fixed tiles: equal files.
train() {
    local folder=$1 precision=$2
    shift 2
    "$CONTRALEAK" pretrain --data synthetic-faces:count=256,size=32 --batch 64 --epochs 5 --seed 3 --precision "$precision" --out "$folder" "$@"
}
export -f train
same() {
    if cmp "$1/encoder.safetensors" "$2/encoder.safetensors"; then
        say "determinism, $3: the same bits"
    else
        say "determinism, $3: FAILED, other bits"
        failed=1
    fi
}
for precision in $precisions; do
    first=$out/first-$precision second=$out/second-$precision
    rm -rf "$first" "$second"
    if keep "first-run-$precision" 90 train "$first" "$precision" && keep "second-run-$precision" 90 train "$second" "$precision"; then
        same "$first" "$second" "$precision, twice"
    else
        failed=1
    fi
done

fixed=$out/fixed-tiles
rm -rf "$fixed"
if keep fixed-tiles 90 train "$fixed" f32 --deterministic; then
    same "$out/first-f32" "$fixed" "measured tiles and fixed ones"
else
    failed=1
fi

keep matmul 60 "$CONTRALEAK" bench kernels --filter matmul --matrix 4096 || failed=1
grep -h 'matmul Nn 4096' "$out/matmul.txt" | tee -a "$out/summary.txt"
for precision in $precisions; do
    keep "step-$precision" 90 "$CONTRALEAK" bench step --batch 512 --steps 10 --profile --precision "$precision" || failed=1
    grep -h 'views/s' "$out/step-$precision.txt" | tee -a "$out/summary.txt"
done
keep resnet50 90 "$CONTRALEAK" bench step --arch resnet50 --batch 256 --steps 5 || failed=1
grep -h 'memory' "$out/resnet50.txt" | tee -a "$out/summary.txt"

if "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    beside() {
        "$python" benches/peers/pytorch.py step --contraleak "$CONTRALEAK" --batch 512 --device cuda --rounds 5 --runs 5 "$@"
    }
    export -f beside
    modes=("" --tf32 --autocast)
    if [ "$precisions" != f32 ]; then modes+=("--autocast --mixed"); fi
    for mode in "${modes[@]}"; do
        name=pytorch${mode// /}
        keep "$name" 90 beside $mode || failed=1
        say "beside PyTorch ${mode:-in f32}: $(tail -1 "$out/$name.txt")"
    done
else
    say "PyTorch: left out, $python has no torch that sees a GPU"
fi

if command -v cargo >/dev/null; then
    keep tests 300 cargo test --release --no-fail-fast || failed=1
    say "tests: $(grep -c '^test .* ok$' "$out/tests.txt") passed, $(grep -c '^test .* FAILED$' "$out/tests.txt") failed"
else
    say "tests: left out, there is no cargo"
fi
keep kernels 120 "$CONTRALEAK" bench kernels || failed=1
say "$([ $failed = 0 ] && echo 'everything ran' || echo 'something FAILED')"
exit $failed
