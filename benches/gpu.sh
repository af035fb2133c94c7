#!/usr/bin/env bash
# What a GPU has to show, in one go of at most ten minutes: every test, the same bits twice, the speed of products and steps,
# and steps beside PyTorch on the same GPU where python has torch with CUDA. Everything lands in the folder named by the
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
# keep NAME SECONDS COMMAND…: runs it for so long at most, its output in NAME.txt; says how it ended.
keep() {
    local name=$1 limit=$2 code=0
    shift 2
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
    keep build 600 cargo build --release || exit 1
    CONTRALEAK=target/release/contraleak
fi
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

# One seed twice: equal files.
train() {
    "$CONTRALEAK" pretrain --data synthetic-faces:count=256,size=32 --batch 64 --epochs 5 --seed 3 --precision "$2" --out "$1"
}
export -f train
for precision in $precisions; do
    first=$out/first-$precision second=$out/second-$precision
    rm -rf "$first" "$second"
    if keep "first-run-$precision" 90 train "$first" "$precision" && keep "second-run-$precision" 90 train "$second" "$precision"; then
        if cmp "$first/encoder.safetensors" "$second/encoder.safetensors"; then
            say "determinism, $precision: the same bits twice"
        else
            say "determinism, $precision: FAILED, two runs of one seed differ"
            failed=1
        fi
    else
        failed=1
    fi
done

keep matmul 60 "$CONTRALEAK" bench kernels --filter matmul --matrix 4096 || failed=1
grep -h 'matmul Nn 4096' "$out/matmul.txt" | tee -a "$out/summary.txt"
keep kernels 120 "$CONTRALEAK" bench kernels || failed=1
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
    keep tests 600 cargo test --release --no-fail-fast || failed=1
    say "tests: $(grep -c '^test .* ok$' "$out/tests.txt") passed, $(grep -c '^test .* FAILED$' "$out/tests.txt") failed"
else
    say "tests: left out, there is no cargo"
fi
say "$([ $failed = 0 ] && echo 'everything ran' || echo 'something FAILED')"
exit $failed
