// Matrices in the orders of common/product32, zero beyond the last row and column. The sum of the product runs over k.
// Operand A: texel (block, k/4, row) at (block·depth + k/4)·32 + row holds four k of row 32·block + row.
// Operand B (PANELS): texel (panel, k, lane) at (panel·4·depth + k)·8 + lane holds columns 32·panel + 4·lane + 0..3 of one k.
// The matrix holds four k in a texel, or with ACROSS four rows of A or columns of B; `lines` are its rows, `texels` those
// of one of them, and there are as many matrices as `batch`, one behind the other.
// binding 0: x [batch·lines·texels], a texture, 1: packed [batch·blocks·depth·32].
// Grid: runs of eight texels of k (eight lines with ACROSS) x blocks x matrices; 64 invocations, one for four lines and a
// texel of each, neighbours along lines, so that a cache line is read once. Roofline: memory, 8 bytes an element.
#import common/texel
#import common/pack64

struct Params { lines: u32, texels: u32, depth: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var x: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var<storage, read_write> packed: array<vec2<u64>>;

@compute @workgroup_size(64)
fn pack_operand(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) local: u32) {
#if ACROSS
    let k4 = group.x * 8u + (local >> 3u);
    let lane = local & 7u;
#else
    let k4 = group.x * 8u + (local & 7u);
    let lane = local >> 3u;
#endif
    if k4 >= params.depth { return; }
    let matrix = group.z * params.lines;
#if ACROSS
    let line = k4 * 4u;
    let texel = group.y * 8u + lane;
#else
    let line = group.y * 32u + lane * 4u;
    let texel = k4;
#endif
#for r in 0..4
    let inside${r} = line + ${r}u < params.lines && texel < params.texels;
    let v${r} = textureLoad(x, at(select(OUTSIDE, (matrix + line + ${r}u) * params.texels + texel, inside${r})));
#end
    let first = ((group.z * groups.y + group.y) * params.depth + k4) * 32u;
#for q in 0..4
#if ACROSS == PANELS
    let w${q} = v${q};
#else
    let w${q} = vec4<f32>(v0.${q:xyzw}, v1.${q:xyzw}, v2.${q:xyzw}, v3.${q:xyzw});
#endif
#if PANELS
    packed[first + ${q * 8}u + lane] = pack64(w${q});
#else
    packed[first + lane * 4u + ${q}u] = pack64(w${q});
#endif
#end
}
