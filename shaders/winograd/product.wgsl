// M = V U, the 36 matrix products of a Winograd convolution: for each position, tiles x input channels times input x
// output channels.
// binding 0: V (winograd/input), 1: U (winograd/weights), 2: M [36][blocks][o4][32 tiles].
// Grid: blocks of 32 tiles x panels of 32 output channels x 36, one subgroup of eight lanes each. Roofline: arithmetic.
#import common/texel
#import common/pack64
#import common/panels

struct Params { blocks: u32, depth: u32, columns4: u32, panels: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var a_blocks: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var b_panels: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> m: array<vec2<u64>>;

@compute @workgroup_size(8)
fn product(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let block = group.z * params.blocks + group.x;
    let first_k = 0u;
    let end_k = params.depth;
    let first_a = block * params.depth * 32u;
    let first_b = (group.z * params.panels + group.y) * params.depth * 32u + lane;
#import common/product32
    let column4 = group.y * 8u + lane;
    if column4 >= params.columns4 { return; }
    let to = (block * params.columns4 + column4) * 32u;
#for r in 0..32
    m[to + ${r}u] = pack64(c${r});
#end
}
