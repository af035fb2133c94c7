// M = V U, or with TRANSPOSED dV = dM Uᵀ: the 36 matrix products of a Winograd convolution: for each position, tiles x input channels times input x
// output channels.
// binding 0: V (winograd/input), 1: U (winograd/weights), 2: M [36][blocks][o4][32 tiles], stored two tiles at a time, which is half of the stores. TRANSPOSED: dM
// (winograd/grad_output), U, dV, input and output exchange their parts, and a texel of U holds four k.
// Grid: blocks of 32 tiles x 4·LANES output channels x 36, one subgroup of LANES lanes each. Roofline: arithmetic.
#import common/texel
#import common/pack64

struct Params { blocks: u32, depth: u32, columns4: u32, panels: u32, rows: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var a_blocks: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var b_panels: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> m: array<vec4<u64>>;

#if TRANSPOSED
// U [36][panels of o][i][8 texels of o]: four channels i lie eight texels apart, o beyond eight texels in other panels.
const B_STEP: u32 = 8u;
const B_NEXT: u32 = 1u;
fn b_texel(k: u32) -> u32 {
    return (k >> 3u) * params.rows * 8u + (k & 7u);
}
#else
#import common/panels
#endif

@compute @workgroup_size(${LANES})
fn product(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let block = group.z * params.blocks + group.x;
    let first_k = 0u;
    let end_k = params.depth;
    let first_a = block * params.depth * 32u;
#if TRANSPOSED
    let first_b = group.z * params.panels * params.rows * 8u + (group.y * ${LANES}u + lane) * 32u;
#else
    let first_b = (group.z * params.panels + group.y / ${8 / LANES}u) * params.depth * 32u + group.y % ${8 / LANES}u * ${LANES}u + lane;
#endif
#import common/product32
    let column4 = group.y * ${LANES}u + lane;
    if column4 >= params.columns4 { return; }
    let to = (block * params.columns4 + column4) * 16u;
#for r in 0..16
    m[to + ${r}u] = vec4<u64>(pack64(c${2 * r}), pack64(c${2 * r + 1}));
#end
}
